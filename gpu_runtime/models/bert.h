#pragma once

// The BERT family with absolute positions: MiniLM, BGE, E5, BERT itself. Same numbers as
// transformers' BertModel without its pooler; weights with or without the "bert." prefix.
#include <memory>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_bert(const ModelConfig& config, const Checkpoint& checkpoint,
                                       at::ScalarType dtype, c10::Device device);

}  // namespace gpumcp::gpu_runtime
