#pragma once

// Gemma 2, and the text part of Gemma 3 (EmbeddingGemma too, whose attention looks both ways).
#include <memory>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_gemma2(const ModelConfig& config, const Checkpoint& checkpoint,
                                         at::ScalarType dtype, c10::Device device);
std::unique_ptr<Transformer> load_gemma3(const ModelConfig& config, const Checkpoint& checkpoint,
                                         at::ScalarType dtype, c10::Device device);

}  // namespace gpumcp::gpu_runtime
