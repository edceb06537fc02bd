#pragma once

// Division by the root mean square over the last dimension, in float32 whatever the weights are.
// Immutable; used on the model's owner thread.
#include <ATen/core/Tensor.h>

namespace gpumcp::gpu_runtime {

// Where a family rounds to the weights' type, and what it multiplies by.
enum class RmsNormStyle {
  llama,  // weight times what was rounded
  gemma,  // (1 + weight) in float32, rounded last
};

class RmsNorm {
 public:
  RmsNorm() = default;
  RmsNorm(at::Tensor weight, double epsilon, RmsNormStyle style);
  at::Tensor operator()(const at::Tensor& x) const;
  bool defined() const { return weight_.defined(); }

 private:
  at::Tensor weight_;  // float32 with the 1 added for gemma
  double epsilon_ = 0;
  RmsNormStyle style_ = RmsNormStyle::llama;
};

}  // namespace gpumcp::gpu_runtime
