#include "gpu_runtime/kv_cache.h"

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {

KvCache::KvCache(const CacheShape& shape, std::int64_t capacity, at::ScalarType dtype,
                 c10::Device device)
    : capacity_(capacity) {
  const auto options = at::TensorOptions(device).dtype(dtype);
  for (std::int64_t i = 0; i < shape.layers; ++i) {
    keys_.push_back(at::empty({shape.kv_heads, capacity, shape.head_dim}, options));
    values_.push_back(at::empty({shape.kv_heads, capacity, shape.head_dim}, options));
  }
}

std::pair<at::Tensor, at::Tensor> KvCache::append(std::size_t layer, const at::Tensor& keys,
                                                  const at::Tensor& values) {
  const std::int64_t count = keys.size(0), all = length_ + count;
  if (all > capacity_) {
    throw Error(ErrorCode::internal, "a cache of " + std::to_string(capacity_) +
                                         " tokens was asked to hold " + std::to_string(all));
  }
  keys_[layer].narrow(1, length_, count).copy_(keys.transpose(0, 1));
  values_[layer].narrow(1, length_, count).copy_(values.transpose(0, 1));
  return {keys_[layer].narrow(1, 0, all).unsqueeze(0),
          values_[layer].narrow(1, 0, all).unsqueeze(0)};
}

}  // namespace gpumcp::gpu_runtime
