#pragma once

// Layer normalisation over the last dimension. Immutable; used on the model's owner thread.
#include <ATen/core/Tensor.h>

namespace gpumcp::gpu_runtime {

class LayerNorm {
 public:
  LayerNorm() = default;
  LayerNorm(at::Tensor weight, at::Tensor bias, double epsilon);
  at::Tensor operator()(const at::Tensor& x) const;

 private:
  at::Tensor weight_, bias_;
  double epsilon_ = 0;
};

}  // namespace gpumcp::gpu_runtime
