#include "gpu_runtime/layers/rotary.h"

#include <numbers>

namespace gpumcp::gpu_runtime {
namespace {

// Llama 3's: long waves are stretched by the factor, short ones stay, those between are blended.
at::Tensor llama3_frequencies(const at::Tensor& plain, const RopeConfig& c) {
  const auto original = static_cast<double>(c.original_max_position);
  const at::Tensor wavelength = (2 * std::numbers::pi) / plain;
  const at::Tensor blend =
      (original / wavelength - c.low_freq_factor) / (c.high_freq_factor - c.low_freq_factor);
  const at::Tensor blended = (1 - blend) * plain / c.factor + blend * plain;
  const at::Tensor stretched =
      at::where(wavelength.gt(original / c.low_freq_factor), plain / c.factor, plain);
  const at::Tensor between = wavelength.ge(original / c.high_freq_factor)
                                 .logical_and(wavelength.le(original / c.low_freq_factor));
  return at::where(between, blended, stretched);
}

}  // namespace

Rotary::Rotary(const RopeConfig& config, std::int64_t head_dim, at::ScalarType dtype,
               c10::Device device)
    : dtype_(dtype) {
  const at::Tensor exponents =
      at::arange(0, head_dim, 2, at::kFloat) / static_cast<double>(head_dim);
  frequencies_ = 1.0 / at::pow(config.theta, exponents);
  if (config.type == RopeType::linear) frequencies_ = frequencies_ / config.factor;
  if (config.type == RopeType::llama3) frequencies_ = llama3_frequencies(frequencies_, config);
  frequencies_ = frequencies_.to(device);
}

RotaryAngles Rotary::angles(const at::Tensor& positions) const {
  const at::Tensor half = positions.to(at::kFloat).unsqueeze(1) * frequencies_;
  const at::Tensor angle = at::cat({half, half}, 1).unsqueeze(1);
  return {angle.cos().to(dtype_), angle.sin().to(dtype_)};
}

at::Tensor rotate(const at::Tensor& x, const RotaryAngles& angles) {
  const std::int64_t half = x.size(2) / 2;
  const at::Tensor turned = at::cat({x.narrow(2, half, half).neg(), x.narrow(2, 0, half)}, 2);
  return (x * angles.cos).add_(turned.mul_(angles.sin));
}

}  // namespace gpumcp::gpu_runtime
