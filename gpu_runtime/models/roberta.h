#pragma once

// RoBERTa and XLM-RoBERTa (multilingual E5, BGE-M3): BERT with positions that begin behind the
// padding id. Same numbers as transformers' RobertaModel without its pooler.
#include <memory>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_roberta(const ModelConfig& config, const Checkpoint& checkpoint,
                                          at::ScalarType dtype, c10::Device device);

}  // namespace gpumcp::gpu_runtime
