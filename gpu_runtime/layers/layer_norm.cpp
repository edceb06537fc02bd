#include "gpu_runtime/layers/layer_norm.h"

namespace gpumcp::gpu_runtime {

LayerNorm::LayerNorm(at::Tensor weight, at::Tensor bias, double epsilon)
    : weight_(std::move(weight)), bias_(std::move(bias)), epsilon_(epsilon) {}

at::Tensor LayerNorm::operator()(const at::Tensor& x) const {
  return at::layer_norm(x, weight_.sizes(), weight_, bias_, epsilon_);
}

}  // namespace gpumcp::gpu_runtime
