// get_embedding: one text to one vector, which travels by reference unless the caller asks for all
// of it.
#include "interfaces/embeddings/vector_output.h"

namespace gpumcp::interfaces {
namespace {

struct Embedding {
  std::string text, model;
  int64_t dims;
  std::string dtype;
  float norm;
  std::vector<float> preview;
  std::optional<std::string> uri, path;
  std::optional<std::vector<float>> embedding;
  std::optional<bool> truncated;
  std::optional<int64_t> tokens, max_tokens;
};
GPUMCP_DESCRIBE_DOC(
    Embedding, (text, "The text, its first 200 characters at most."), (model, "The model's name."),
    (dims, "Length of the vector."), (dtype, "Type of its values."),
    (norm, "Its Euclidean length."), (preview, "Its first 10 values."),
    (uri,
     "With output \"ref\": where resources/read gives the vector as .npy; similarity takes it."),
    (path, "With output \"file\": the .npy file."),
    (embedding, "With output \"inline\": all of the vector."),
    (truncated, "true if the text was longer than the model reads; its end did not count."),
    (tokens, "Of a truncated text: how many tokens it has."),
    (max_tokens, "Of a truncated text: how many of them the model reads."))

// The text's bytes in a result, so that all of it stays under 1 KB.
constexpr size_t kShownBytes = 600;

mcp::WithContent<Embedding> get_embedding(const Embedder& embedder, const std::string& text,
                                          const std::string& output,
                                          const gpu_runtime::SentenceEncodeOptions& options,
                                          const Context& context) {
  Vectors vectors = embedder.encode({text}, options);
  const auto row = vectors.matrix.row(0);
  Embedding out{.text = cut_text(text, kShownCharacters, kShownBytes),
                .model = embedder.name,
                .dims = static_cast<int64_t>(row.size()),
                .dtype = "float32",
                .norm = static_cast<float>(norm(row)),
                .preview = {row.begin(), row.begin() + static_cast<std::ptrdiff_t>(
                                                           std::min(kPreview, row.size()))}};
  if (!vectors.truncated.empty()) {
    out.truncated = true;
    out.tokens = static_cast<int64_t>(vectors.tokens[0]);
    out.max_tokens = embedder.max_tokens();
  }
  if (output == "inline") {
    out.embedding = std::move(vectors.matrix.values);
    return {std::move(out)};
  }
  Delivery delivery = deliver(output, vectors.matrix, {out.dims}, embedder, context);
  out.uri = std::move(delivery.uri);
  out.path = std::move(delivery.path);
  return {std::move(out), std::move(delivery.links)};
}

}  // namespace

void expose_get_embedding(Interface& interface, const Embedder& embedder) {
  interface.expose(
      {.name = "get_embedding",
       .description = "Get the text embedding (a vector that stands for the meaning) of one text, "
                      "from the model " +
                      embedder.name +
                      ". Returns a reference to the vector and a short preview; output \"file\" " +
                      "writes an .npy file, \"inline\" gives all values. To compare texts use "
                      "similarity, for many " +
                      "texts get_embeddings.",
       .annotations = read_only("Text embedding")},
      [embedder](const std::string& text, const std::string& output, std::optional<int64_t> dims,
                 const std::optional<std::string>& prompt, const std::string& long_text,
                 Context& context) {
        return get_embedding(embedder, text, output, encode_options(dims, prompt, long_text),
                             context);
      },
      arg("text",
          "The text to embed; may be empty. The result says if it has more tokens than the model "
          "reads."),
      arg("output",
          "How to return the vector: \"ref\" a gpumcp:// URI, \"file\" an .npy in the workspace, "
          "\"inline\" all values.",
          "ref")
          .one_of({"ref", "inline", "file"}),
      dims_arg(), prompt_arg("prompt", "to put before the text"), long_text_arg());
}

}  // namespace gpumcp::interfaces
