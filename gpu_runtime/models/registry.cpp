#include "gpu_runtime/models/registry.h"

#include "gpu_runtime/error.h"
#include "gpu_runtime/models/bert.h"
#include "gpu_runtime/models/class_head.h"
#include "gpu_runtime/models/distilbert.h"
#include "gpu_runtime/models/gemma.h"
#include "gpu_runtime/models/gpt2.h"
#include "gpu_runtime/models/llama.h"
#include "gpu_runtime/models/mpnet.h"
#include "gpu_runtime/models/qwen.h"
#include "gpu_runtime/models/roberta.h"

namespace gpumcp::gpu_runtime {
namespace {

struct Architecture {
  std::string_view model_type;
  std::unique_ptr<Transformer> (*load)(const ModelConfig&, const Checkpoint&, at::ScalarType,
                                       c10::Device);
  bool predicts_text;
};

constexpr Architecture kArchitectures[] = {
    {"bert", load_bert, false},           {"distilbert", load_distilbert, false},
    {"gemma2", load_gemma2, true},        {"gemma3", load_gemma3, true},
    {"gemma3_text", load_gemma3, true},   {"gpt2", load_gpt2, true},
    {"llama", load_llama, true},          {"mistral", load_mistral, true},
    {"mpnet", load_mpnet, false},         {"qwen2", load_qwen2, true},
    {"qwen3", load_qwen3, true},          {"roberta", load_roberta, false},
    {"xlm-roberta", load_roberta, false},
};

const Architecture& find_architecture(const ModelConfig& config) {
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.model_type == config.model_type()) return architecture;
  }
  std::string known;
  for (const std::string& type : supported_model_types())
    known += (known.empty() ? "" : ", ") + type;
  const std::string type = config.model_type().substr(0, 60);
  throw Error(ErrorCode::unsupported,
              config.origin() + ": " +
                  (type.empty() ? "there is no model_type"
                                : "model_type \"" + type + "\" is not supported") +
                  " (supported: " + known + ")");
}

}  // namespace

at::Tensor Transformer::final_norm(const at::Tensor&) const { return {}; }
at::Tensor Transformer::logits(const at::Tensor&) const { return {}; }
at::Tensor Transformer::class_scores(const at::Tensor&) const { return {}; }

std::unique_ptr<Transformer> load_transformer(const ModelConfig& config,
                                              const Checkpoint& checkpoint, at::ScalarType dtype,
                                              c10::Device device) {
  return find_architecture(config).load(config, checkpoint, dtype, device);
}

void check_model_type(const ModelConfig& config) { find_architecture(config); }

bool predicts_text(const ModelConfig& config) {
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.model_type == config.model_type())
      return architecture.predicts_text && count_labels(config) == 0;
  }
  return false;
}

std::vector<std::string> supported_model_types() {
  std::vector<std::string> types;
  for (const Architecture& architecture : kArchitectures)
    types.emplace_back(architecture.model_type);
  return types;
}

}  // namespace gpumcp::gpu_runtime
