// get_embeddings: up to kMaxTexts texts in one call, one artifact or file of shape [n, d].
#include "interfaces/embeddings/vector_output.h"

namespace gpumcp::interfaces {
namespace {

struct Embeddings {
  int64_t count;
  std::string model;
  int64_t dims;
  std::string dtype;
  std::vector<float> preview;
  std::optional<std::string> uri, path;
  std::optional<int64_t> truncated;
  std::optional<std::vector<int64_t>> truncated_texts;
  std::optional<int64_t> max_tokens;
};
GPUMCP_DESCRIBE_DOC(
    Embeddings, (count, "Rows of the array: one for each text, in order."),
    (model, "The model's name."), (dims, "Columns of the array."), (dtype, "Type of its values."),
    (preview, "The first 10 values of the first row."),
    (uri,
     "With output \"ref\": where resources/read gives the array as .npy; similarity takes it."),
    (path, "With output \"file\": the .npy file."),
    (truncated, "How many texts were longer than the model reads; their ends did not count."),
    (truncated_texts, "The indices of the first 20 of them."),
    (max_tokens, "If texts were truncated: how many tokens the model reads."))

constexpr size_t kShownIndices = 20;

mcp::WithContent<Embeddings> get_embeddings(const Embedder& embedder,
                                            const std::vector<std::string>& texts,
                                            const std::string& output,
                                            const gpu_runtime::SentenceEncodeOptions& options,
                                            const Context& context) {
  const Vectors vectors = embedder.encode(texts, options);
  const auto first = vectors.matrix.row(0);
  Embeddings out{.count = static_cast<int64_t>(vectors.matrix.rows()),
                 .model = embedder.name,
                 .dims = static_cast<int64_t>(vectors.matrix.dims),
                 .dtype = "float32",
                 .preview = {first.begin(), first.begin() + static_cast<std::ptrdiff_t>(
                                                                std::min(kPreview, first.size()))}};
  if (const auto& cut = vectors.truncated; !cut.empty()) {
    out.truncated = static_cast<int64_t>(cut.size());
    out.truncated_texts.emplace(cut.begin(), cut.begin() + static_cast<std::ptrdiff_t>(std::min(
                                                               kShownIndices, cut.size())));
    out.max_tokens = embedder.max_tokens();
  }
  Delivery delivery = deliver(output, vectors.matrix, {out.count, out.dims}, embedder, context);
  out.uri = std::move(delivery.uri);
  out.path = std::move(delivery.path);
  return {std::move(out), std::move(delivery.links)};
}

}  // namespace

void expose_get_embeddings(Interface& interface, const Embedder& embedder) {
  interface.expose(
      {.name = "get_embeddings",
       .description =
           "Get the text embeddings of up to " + std::to_string(kMaxTexts) +
           " texts at once, from the model " + embedder.name +
           ": one float32 array with a row for each text, by reference or as an .npy file. " +
           "Much faster than one get_embedding call for each text.",
       .annotations = read_only("Text embeddings, many at once")},
      [embedder](const std::vector<std::string>& texts, const std::string& output,
                 std::optional<int64_t> dims, const std::optional<std::string>& prompt,
                 const std::string& long_text, Context& context) {
        return get_embeddings(embedder, texts, output, encode_options(dims, prompt, long_text),
                              context);
      },
      arg("texts",
          "The texts to embed, 1 to " + std::to_string(kMaxTexts) + " of them; each may be empty.")
          .min_items(1)
          .max_items(kMaxTexts),
      arg("output",
          "How to return the array: \"ref\" a gpumcp:// URI, \"file\" an .npy in the workspace.",
          "ref")
          .one_of({"ref", "file"}),
      dims_arg(), prompt_arg("prompt", "to put before each text"), long_text_arg());
}

}  // namespace gpumcp::interfaces
