#pragma once

// Qwen 2, 2.5 and 3 (dense), as language models and as embedders.
#include <memory>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_qwen2(const ModelConfig& config, const Checkpoint& checkpoint,
                                        at::ScalarType dtype, c10::Device device);
std::unique_ptr<Transformer> load_qwen3(const ModelConfig& config, const Checkpoint& checkpoint,
                                        at::ScalarType dtype, c10::Device device);

}  // namespace gpumcp::gpu_runtime
