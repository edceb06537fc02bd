// TensorRef: a parameter, or a result, that is a tensor kept by the worker and named by its URI:
//   interface.expose("norm", "The norm of a vector.",
//       [](const TensorRef& vector) { return vector.tensor().norm().item<double>(); },
//       arg("vector", "As get_embedding returns it."));
// In the schema it is a string with `format: uri`. The URI may name a part (`?slice=0:10`) or one
// of several tensors (gpu_runtime/artifact_view.h); what is not there, not this caller's, or no
// array is the caller's error and names the argument. The numbers are read when the arguments are
// decoded, so that an artifact that expires while the function runs does it no harm. A value.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpu_runtime/artifacts.h"
#include "gpu_runtime/export.h"
#include "mcp/json_type.h"

#include <ATen/core/Tensor.h>

namespace gpumcp {

// Who may read what is kept: whoever knows the URI, or the caller's session alone.
enum class ArtifactScope { shared, session };

class GPUMCP_RUNTIME_API TensorRef {
 public:
  TensorRef() = default;
  // Reads the tensor from the process' store. Throws gpu_runtime::Error.
  static TensorRef open(std::string uri);
  // Keeps the tensor there: what a function returns instead of the numbers.
  static TensorRef keep(const at::Tensor& tensor, const std::string& name,
                        ArtifactScope scope = ArtifactScope::shared,
                        const std::string& description = "");

  const std::string& uri() const { return uri_; }
  // In host memory; .to(model.device()) brings it to a GPU.
  const at::Tensor& tensor() const { return tensor_; }
  std::vector<std::int64_t> shape() const { return tensor_.sizes().vec(); }

  // The numbers as this many dimensions of a floating-point type; ToolError names the argument,
  // what was expected and what came. For functions that need a vector (1) or a matrix (2).
  at::Tensor floating(std::int64_t dimensions, std::string_view argument) const;

 private:
  std::string uri_;
  at::Tensor tensor_;
};

}  // namespace gpumcp

namespace gpumcp::mcp {

template <>
struct GPUMCP_RUNTIME_API JsonType<TensorRef> {
  static Json schema();
  static TensorRef decode(const Json& value, const JsonPath& path);
  static void append(std::string& out, const TensorRef& value) { append_string(out, value.uri()); }
};

}  // namespace gpumcp::mcp
