#pragma once

// Bidirectional attention over a packed batch: each text attends to itself alone, texts of one
// length share a call, and there is no mask, which lets torch take its flash kernels. Stateless;
// used on the model's owner thread.
#include <ATen/core/Tensor.h>

#include <span>

#include "gpu_runtime/packing.h"

namespace gpumcp::gpu_runtime {

// qkv is [tokens, 3 * heads * head_dim]: queries, keys and values side by side. Returns [tokens,
// heads * head_dim].
at::Tensor self_attention(const at::Tensor& qkv, std::span<const LengthGroup> groups,
                          std::int64_t heads);

}  // namespace gpumcp::gpu_runtime
