#pragma once

// A table of vectors, looked up by id. The caller checks that ids are in range. Immutable; used on
// the model's owner thread.
#include <ATen/core/Tensor.h>
#include <ATen/ops/embedding.h>

namespace gpumcp::gpu_runtime {

class Embedding {
 public:
  Embedding() = default;
  explicit Embedding(at::Tensor table) : table_(std::move(table)) {}
  at::Tensor operator()(const at::Tensor& ids) const { return at::embedding(table_, ids); }
  at::Tensor row(std::int64_t id) const { return table_.select(0, id); }

 private:
  at::Tensor table_;
};

}  // namespace gpumcp::gpu_runtime
