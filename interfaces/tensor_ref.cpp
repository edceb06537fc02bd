#include "interfaces/tensor_ref.h"

#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/tensors.h"
#include "mcp/context.h"

namespace gpumcp {
namespace {

std::string spelled(at::IntArrayRef shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

}  // namespace

TensorRef TensorRef::open(std::string uri) {
  TensorRef ref;
  ref.tensor_ = gpu_runtime::get_tensor(gpu_runtime::Runtime::current().artifacts(), uri);
  ref.uri_ = std::move(uri);
  return ref;
}

TensorRef TensorRef::keep(const at::Tensor& tensor, const std::string& name, ArtifactScope scope,
                          const std::string& description) {
  TensorRef ref;
  ref.uri_ = gpu_runtime::put_tensor(tensor, name, description,
                                     scope == ArtifactScope::session
                                         ? gpu_runtime::CallScope::current_limits().caller
                                         : std::string())
                 .uri;
  ref.tensor_ = tensor;
  return ref;
}

at::Tensor TensorRef::floating(std::int64_t dimensions, std::string_view argument) const {
  const bool fits = tensor_.defined() && tensor_.dim() == dimensions;
  if (!fits || !at::isFloatingType(tensor_.scalar_type())) {
    throw mcp::ToolError(
        "arguments." + std::string(argument) + ": expected a tensor of " +
        std::to_string(dimensions) + " dimension" + (dimensions == 1 ? "" : "s") +
        " and a floating-point type, got shape " +
        (tensor_.defined() ? spelled(tensor_.sizes()) : std::string("(none)")) + " of type " +
        (tensor_.defined() ? std::string(c10::toString(tensor_.scalar_type())) : "(none)") + " (" +
        uri_ + ")");
  }
  return tensor_.to(at::kFloat);
}

}  // namespace gpumcp

namespace gpumcp::mcp {

Json JsonType<TensorRef>::schema() { return {{"type", "string"}, {"format", "uri"}}; }

TensorRef JsonType<TensorRef>::decode(const Json& value, const JsonPath& path) {
  if (!value.is_string()) throw DecodeError(path, "a gpumcp://artifacts/ URI", value);
  try {
    return TensorRef::open(value.get<std::string>());
  } catch (const gpu_runtime::Error& e) {
    throw DecodeError(path, e.what());
  }
}

}  // namespace gpumcp::mcp
