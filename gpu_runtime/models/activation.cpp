#include "gpu_runtime/models/activation.h"

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {

Activation parse_activation(std::string_view name, const std::string& origin) {
  if (name == "gelu") return Activation::gelu;
  if (name == "gelu_new" || name == "gelu_fast" || name == "gelu_pytorch_tanh")
    return Activation::gelu_tanh;
  if (name == "relu") return Activation::relu;
  if (name == "silu" || name == "swish") return Activation::silu;
  if (name == "tanh") return Activation::tanh;
  throw Error(ErrorCode::unsupported,
              origin + ": the activation \"" + std::string(name.substr(0, 60)) +
                  "\" is not supported (gelu, gelu_new, gelu_pytorch_tanh, relu, silu, tanh are)");
}

}  // namespace gpumcp::gpu_runtime
