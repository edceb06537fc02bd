#pragma once

// A module that somebody compiled or scripted (AOTInductor package, TorchScript), run as a
// BatchModel: forward(input_ids[, attention_mask[, token_type_ids]]) with int64 [texts, length]
// each, whose first output is [texts, length, d] (hidden states, or logits where a language model's
// handle asks) or [texts, d] (vectors). Texts of one length share a call, so that nothing is
// padded. Both kinds hold code that runs: a package is native code, so load what you would run.
// Made, used and destroyed on an executor's owner thread.
#include <memory>

#include "gpu_runtime/model_loader.h"

namespace gpumcp::gpu_runtime {

// config.json beside the file says vocab_size and max_position_embeddings: ids beyond the one or
// texts beyond the other end the process inside compiled code, so they are checked before.
// Error(unsupported) for a package that was compiled for another kind of device.
std::unique_ptr<BatchModel> load_module_model(const LoadRequest& request, const ModelFile& module);

}  // namespace gpumcp::gpu_runtime
