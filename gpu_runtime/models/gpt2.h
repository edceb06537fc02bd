#pragma once

// GPT-2 and what is stored as it is (DistilGPT-2): same numbers as transformers' GPT2LMHeadModel.
#include <memory>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_gpt2(const ModelConfig& config, const Checkpoint& checkpoint,
                                       at::ScalarType dtype, c10::Device device);

}  // namespace gpumcp::gpu_runtime
