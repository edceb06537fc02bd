#pragma once

// MPNet (all-mpnet-base-v2): BERT with a bias by relative position. Same numbers as transformers'
// MPNetModel without its pooler.
#include <memory>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_mpnet(const ModelConfig& config, const Checkpoint& checkpoint,
                                        at::ScalarType dtype, c10::Device device);

}  // namespace gpumcp::gpu_runtime
