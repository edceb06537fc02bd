#pragma once

// Rotary positions: queries and keys are turned by angles that grow with the position, so that
// their product depends on the distance alone. The two halves of a head are the pairs
// (rotate_half). Immutable; used on the model's owner thread.
#include <ATen/core/Tensor.h>

#include <cstdint>

namespace gpumcp::gpu_runtime {

enum class RopeType { plain, linear, llama3 };

// config.json's rope_parameters (or rope_theta and rope_scaling); see models/rope_config.h.
struct RopeConfig {
  RopeType type = RopeType::plain;
  double theta = 10000;
  double factor = 1;                                 // linear, llama3
  double low_freq_factor = 1, high_freq_factor = 4;  // llama3
  std::int64_t original_max_position = 8192;         // llama3
};

// [tokens, 1, head_dim] each; made once a batch, used by all its layers.
struct RotaryAngles {
  at::Tensor cos, sin;
};

class Rotary {
 public:
  Rotary(const RopeConfig& config, std::int64_t head_dim, at::ScalarType dtype, c10::Device device);
  RotaryAngles angles(const at::Tensor& positions) const;

 private:
  at::Tensor frequencies_;  // float32 [head_dim / 2]
  at::ScalarType dtype_;
};

// x is [tokens, heads, head_dim].
at::Tensor rotate(const at::Tensor& x, const RotaryAngles& angles);

}  // namespace gpumcp::gpu_runtime
