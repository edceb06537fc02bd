#include "interfaces/embeddings/embeddings.h"

#include "gpu_runtime/cross_encoder.h"
#include "interfaces/adapter.h"

namespace gpumcp::interfaces {
namespace {

constexpr const char* kModel = "sentence-transformers/all-MiniLM-L6-v2";

// Neither a model for text nor a reranker. A reranker that was given alone was meant for rerank.
std::string choose_embedder(const Interface& interface) {
  using gpu_runtime::is_cross_encoder;
  const std::string name = interface.default_model(kModel, [](const ModelPath& path) {
    return !is_language_model(path) && !is_cross_encoder(path);
  });
  try {
    const ModelPath path = interface.get_model_path(name);
    return path.found() && is_cross_encoder(path) ? kModel : name;
  } catch (const std::exception&) {
    return name;  // broken: the call that loads it says how
  }
}

}  // namespace

Vectors Embedder::encode(const std::vector<std::string>& texts,
                         const gpu_runtime::SentenceEncodeOptions& options) const {
  const auto encoded = model.encode(texts, options);
  Vectors out;
  out.matrix = {static_cast<size_t>(encoded.vectors.size(1)), to_vector(encoded.vectors)};
  if (const size_t at = find_not_finite(out.matrix.values); at != out.matrix.values.size())
    throw ToolError(
        "the model " + name + " gave a vector with values that are no finite numbers (text " +
        std::to_string(at / out.matrix.dims) + "): its weights are broken; pull the model anew");
  out.tokens.assign(encoded.tokens_before.begin(), encoded.tokens_before.end());
  for (size_t i = 0; i < encoded.truncated.size(); ++i) {
    if (encoded.truncated[i]) out.truncated.push_back(i);
  }
  return out;
}

int64_t Embedder::max_tokens() const {
  return static_cast<int64_t>(model.max_seq_length().value_or(0));
}

gpu_runtime::SentenceEncodeOptions encode_options(std::optional<int64_t> dims,
                                                  std::optional<std::string> prompt,
                                                  const std::string& long_text) {
  return {.prompt_name = std::move(prompt),
          .dims = dims.value_or(0),
          .long_text =
              long_text == "mean" ? gpu_runtime::LongText::mean : gpu_runtime::LongText::truncate};
}

mcp::Arg dims_arg() {
  return arg("dims",
             "Keep only the first so many values, for models that were trained for it "
             "(Matryoshka). Left out: all.")
      .minimum(1);
}
mcp::Arg prompt_arg(std::string name, const std::string& of) {
  return arg(std::move(name), "The name of one of the model's prompts, as query or document, " +
                                  of + ". Left out: the model's default.");
}
mcp::Arg long_text_arg() {
  return arg("long_text",
             "What becomes of a text of more tokens than the model reads: \"truncate\" cuts its "
             "end, \"mean\" averages windows of it.",
             "truncate")
      .one_of({"truncate", "mean"});
}

mcp::ToolAnnotations read_only(std::string title) {
  return {.title = std::move(title), .readOnlyHint = true, .openWorldHint = false};
}

}  // namespace gpumcp::interfaces

GPUMCP_INTERFACE(embeddings, interface) {
  using namespace gpumcp::interfaces;
  const std::string name = choose_embedder(interface);
  const Embedder embedder{
      .name = shown_model(interface, name),
      .model = gpumcp::SentenceTransformer::from_pretrained(interface.get_model_path(name)),
      .artifacts = &interface.artifacts(),
      .workspace = interface.option("workspace")};
  expose_get_model_info(interface, embedder);
  expose_get_embedding(interface, embedder);
  expose_get_embeddings(interface, embedder);
  expose_rerank(interface);
  expose_search(interface, embedder);
  expose_similarity(interface, embedder);
}
