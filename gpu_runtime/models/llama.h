#pragma once

// Llama 2 and 3, SmolLM, Mistral and what else is stored as they are: same numbers as transformers'
// LlamaModel and MistralModel, with or without the head.
#include <memory>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_llama(const ModelConfig& config, const Checkpoint& checkpoint,
                                        at::ScalarType dtype, c10::Device device);
std::unique_ptr<Transformer> load_mistral(const ModelConfig& config, const Checkpoint& checkpoint,
                                          at::ScalarType dtype, c10::Device device);

}  // namespace gpumcp::gpu_runtime
