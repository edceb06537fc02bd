#pragma once

// y = x W^T + b, in the form that is fastest where it runs. For float32 on the CPU, and for
// bfloat16 where that has instructions for it, the weight is reordered once for oneDNN (2 to 3
// times the speed of at::linear on 2 cores) and the plain copy is dropped. Immutable after
// construction; used on the model's owner thread.
#include <ATen/core/Tensor.h>

namespace gpumcp::gpu_runtime {

// What follows a linear layer in a feed-forward block. gelu is the exact (erf) form, gelu_tanh the
// approximation.
enum class Activation { none, gelu, gelu_tanh, relu, silu, tanh, sigmoid };

at::Tensor activate(const at::Tensor& x, Activation activation);

class Linear {
 public:
  Linear() = default;
  // bias may be undefined.
  Linear(at::Tensor weight, at::Tensor bias);

  // x is [tokens, in].
  at::Tensor operator()(const at::Tensor& x, Activation activation = Activation::none) const;

 private:
  at::Tensor weight_;  // plain, or opaque in oneDNN's order
  at::Tensor bias_;
  bool reordered_ = false;
};

}  // namespace gpumcp::gpu_runtime
