#include "gpu_runtime/cross_encoder.h"

#include <cmath>
#include <filesystem>

#include "gpu_runtime/auto_tokenizer.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/models/class_head.h"
#include "gpu_runtime/runtime.h"

namespace gpumcp::gpu_runtime {
namespace {

// config.json says it by a class of torch: {"sentence_transformers": {"activation_fn": "torch.nn.
// modules.linear.Identity"}}, older files in one key.
bool uses_sigmoid(const ModelConfig& config) {
  std::string name;
  if (config.has("sentence_transformers"))
    name = config.get_object("sentence_transformers").get_string("activation_fn", "");
  if (name.empty()) name = config.get_string("sbert_ce_default_activation_function", "");
  if (name.empty()) return true;
  const std::string last = name.substr(name.rfind('.') + 1);
  if (last == "Sigmoid") return true;
  if (last == "Identity") return false;
  throw Error(ErrorCode::unsupported,
              config.origin() + ": the activation function " + describe_json(Json(name)) +
                  " of a cross-encoder is not supported (supported: Sigmoid, Identity)");
}

}  // namespace

CrossEncoder CrossEncoder::from_pretrained(const ModelPath& path, const ModelOptions& options,
                                           Runtime* runtime) {
  return CrossEncoder((runtime != nullptr ? *runtime : Runtime::current()).model(path, options));
}

std::optional<std::size_t> CrossEncoder::max_length() const { return model_max_length(*model_); }

PairScores CrossEncoder::scores(const std::string& query, std::span<const std::string> texts,
                                bool raw) const {
  if (texts.empty()) return {};
  const ModelConfig& config = model_->config();
  const std::int64_t labels = count_labels(config);
  if (labels != 1) {
    throw Error(
        ErrorCode::unsupported,
        config.origin() + (labels == 0 ? ": the model scores no pairs, since it names no "
                                         "...ForSequenceClassification; a cross-encoder does"
                                       : ": the model scores " + std::to_string(labels) +
                                             " labels; to rank texts it must give one number"));
  }
  const bool sigmoid = uses_sigmoid(config) && !raw;
  const std::vector<Encoding> pairs =
      tokenize_pairs(model_->tokenizer(), query, texts, {.max_length = max_length()});
  std::vector<TokenRow> rows;
  PairScores out;
  for (const Encoding& pair : pairs) {
    rows.push_back(to_token_row(pair));
    out.truncated.push_back(pair.truncated);
  }
  const ModelResult result = model_->run(std::move(rows), {.class_scores = true});
  for (const RowResult& row : result.rows) {
    const float score = *row.class_scores.const_data_ptr<float>();
    out.scores.push_back(sigmoid ? 1 / (1 + std::exp(-score)) : score);
  }
  return out;
}

bool is_cross_encoder(const ModelPath& path) {
  const std::filesystem::path& folder = path.require();
  if (!std::filesystem::is_directory(folder)) return false;  // a module's file
  return count_labels(ModelConfig::from_pretrained(folder)) == 1;
}

}  // namespace gpumcp::gpu_runtime
