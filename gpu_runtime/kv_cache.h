#pragma once

// The keys and values of one sequence that is being generated, for every layer: what attention
// needs of the tokens that went before. All memory is taken at construction, so that a sequence
// that was let in never runs out in its middle. Made, used and destroyed on the model's owner
// thread.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

// What a token takes in a cache; layers == 0: the architecture keeps none.
struct CacheShape {
  std::int64_t layers = 0, kv_heads = 0, head_dim = 0;
  std::int64_t elements(std::int64_t tokens) const {  // keys and values
    return 2 * layers * kv_heads * head_dim * tokens;
  }
};

class GPUMCP_RUNTIME_API KvCache {
 public:
  KvCache(const CacheShape& shape, std::int64_t capacity, at::ScalarType dtype, c10::Device device);
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  std::int64_t length() const { return length_; }
  std::int64_t capacity() const { return capacity_; }

  // Puts the new tokens' [n, kv_heads, head_dim] behind what is there, and gives all of the layer,
  // [1, kv_heads, length() + n, head_dim] each, as views.
  std::pair<at::Tensor, at::Tensor> append(std::size_t layer, const at::Tensor& keys,
                                           const at::Tensor& values);
  // After the last layer: the new tokens count from now on.
  void advance(std::int64_t tokens) { length_ += tokens; }

 private:
  std::vector<at::Tensor> keys_, values_;  // [kv_heads, capacity, head_dim] a layer
  std::int64_t length_ = 0, capacity_ = 0;
};

}  // namespace gpumcp::gpu_runtime
