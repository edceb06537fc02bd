#include "gpu_runtime/layers/rms_norm.h"

namespace gpumcp::gpu_runtime {

RmsNorm::RmsNorm(at::Tensor weight, double epsilon, RmsNormStyle style)
    : weight_(style == RmsNormStyle::gemma ? weight.to(at::kFloat) + 1.0 : std::move(weight)),
      epsilon_(epsilon),
      style_(style) {}

at::Tensor RmsNorm::operator()(const at::Tensor& x) const {
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor normal = wide * wide.square().mean(-1, true).add_(epsilon_).rsqrt_();
  if (style_ == RmsNormStyle::gemma) return (normal * weight_).to(x.scalar_type());
  return normal.to(x.scalar_type()) * weight_;
}

}  // namespace gpumcp::gpu_runtime
