#pragma once

// DistilBERT: BERT without token types, under other names. Same numbers as transformers'
// DistilBertModel.
#include <memory>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_distilbert(const ModelConfig& config,
                                             const Checkpoint& checkpoint, at::ScalarType dtype,
                                             c10::Device device);

}  // namespace gpumcp::gpu_runtime
