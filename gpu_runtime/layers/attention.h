#pragma once

// Attention over a packed batch: each text attends to itself alone, texts of one length share a
// call. Where nothing has to be masked torch takes its flash kernels. Stateless; used on the
// model's owner thread.
#include <ATen/core/Tensor.h>

#include <functional>
#include <span>

#include "gpu_runtime/packing.h"

namespace gpumcp::gpu_runtime {

// What is added to the scores of texts of this length: [1, heads, length, length].
using AttentionBias = std::function<at::Tensor(std::int64_t length)>;

// Bidirectional, as many keys as queries. qkv is [tokens, 3 * heads * head_dim]: queries, keys and
// values side by side. Returns [tokens, heads * head_dim].
at::Tensor self_attention(const at::Tensor& qkv, std::span<const LengthGroup> groups,
                          std::int64_t heads, const AttentionBias& bias = nullptr);

struct AttentionConfig {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;  // kv_heads divides heads
  double scale = 0;                                    // of query times key
  double soft_cap = 0;                                 // cap * tanh(score / cap); 0: none
  bool causal = true;
  std::int64_t window = 0;  // sees the last `window` tokens, itself included (or, not causal, those
                            // nearer than `window` on both sides); 0: all
};

// Asks the batch's taps for q, k and v of `flat`, [tokens, (heads + 2 * kv_heads) * head_dim]:
// queries, keys and values side by side.
void tap_query_key_value(const PackedBatch& batch, std::int64_t layer, const at::Tensor& flat,
                         const AttentionConfig& config);

// queries [tokens, heads, head_dim], keys and values [tokens, kv_heads, head_dim]; returns [tokens,
// heads * head_dim]. Where the batch has caches the keys and values of `layer` go into them, and
// each row attends to what was there too. Asks the batch's taps for scores, pattern and z.
at::Tensor grouped_attention(const at::Tensor& queries, const at::Tensor& keys,
                             const at::Tensor& values, const PackedBatch& batch, std::size_t layer,
                             const AttentionConfig& config);

}  // namespace gpumcp::gpu_runtime
