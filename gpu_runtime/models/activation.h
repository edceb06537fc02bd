#pragma once

// config.json's names of activations ("gelu" is the erf form; "gelu_new", "gelu_fast",
// "gelu_pytorch_tanh" are the approximation). Error(unsupported) names origin and the name that is
// not known.
#include <string>
#include <string_view>

#include "gpu_runtime/layers/linear.h"

namespace gpumcp::gpu_runtime {

Activation parse_activation(std::string_view name, const std::string& origin);

}  // namespace gpumcp::gpu_runtime
