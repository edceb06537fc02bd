// get_model_info: what the model is, from its small files; never loads its weights.
#include "gpu_runtime/runtime.h"
#include "interfaces/embeddings/embeddings.h"

namespace gpumcp::interfaces {
namespace {

struct ModelInfo {
  std::string model, model_type;
  int64_t dims;
  std::optional<int64_t> max_tokens;
  int64_t num_layers, hidden_size, vocab_size;
  std::string pooling;
  bool normalize;
  std::string dtype, device;
  bool loaded;
};
GPUMCP_DESCRIBE_DOC(
    ModelInfo, (model, "The model's name."), (model_type, "Its architecture, as config.json says."),
    (dims, "Length of its embeddings."), (max_tokens, "Longer texts are cut to this many tokens."),
    (num_layers, "Transformer layers."), (hidden_size, "Width of a layer."),
    (vocab_size, "Tokens that it knows."), (pooling, "How token vectors become one."),
    (normalize, "true if embeddings have length 1."), (dtype, "Type of the weights in use."),
    (device, "Where it runs."), (loaded, "true while its weights are in memory."))

bool is_loaded(const ModelPath& path) {
  const auto status = gpu_runtime::Runtime::current().status();
  for (const auto& model : status["models"]) {
    if (model["name"] == path.name && model["folder"] == path.folder.string() &&
        model["state"] == "hot")
      return true;
  }
  return false;
}

ModelInfo get_model_info(const Embedder& embedder) {
  constexpr int64_t kMost = int64_t{1} << 40;
  const SentenceTransformer& model = embedder.model;
  const gpu_runtime::ModelConfig& config = model.config();
  const gpu_runtime::SentenceTransformerConfig& sentences = model.sentence_config();
  const int64_t hidden_size = config.get_int("hidden_size", 0, kMost, 0);
  std::string pooling;
  for (const auto mode : sentences.pooling)
    (pooling += pooling.empty() ? "" : "+") += to_string(mode);
  std::optional<int64_t> max_tokens;
  if (const auto limit = model.max_seq_length()) max_tokens = static_cast<int64_t>(*limit);
  const c10::Device device = model.device();
  return {.model = embedder.name,
          .model_type = config.model_type(),
          .dims = model.dims(),
          .max_tokens = max_tokens,
          .num_layers = config.get_int("num_hidden_layers", 0, kMost, 0),
          .hidden_size = hidden_size,
          .vocab_size = config.get_int("vocab_size", 0, kMost, 0),
          .pooling = std::move(pooling),
          .normalize = sentences.normalize,
          .dtype = device.is_cpu() ? "float32" : std::string(to_string(config.dtype())),
          .device = device.str(),
          .loaded = is_loaded(model.path())};
}

}  // namespace

void expose_get_model_info(Interface& interface, const Embedder& embedder) {
  interface.expose(
      {.name = "get_model_info",
       .description =
           "Describe the embedding model " + embedder.name + ": vector length (dims), token " +
           "limit, layers, vocabulary, pooling, device, and whether it is loaded. Fast; loads " +
           "nothing.",
       .annotations = read_only("Embedding model")},
      [embedder] { return get_model_info(embedder); });
}

}  // namespace gpumcp::interfaces
