#pragma once

// From tensors to what leaves the runtime: plain vectors and artifacts. Free functions, callable
// from any thread.
#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "gpu_runtime/artifacts.h"
#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

// All numbers in order, as float32, from whatever device and type.
GPUMCP_RUNTIME_API std::vector<float> to_vector(const at::Tensor& tensor);

// Keeps the tensor as .npy in the store (bfloat16 as float32, which .npy can name).
GPUMCP_RUNTIME_API ArtifactInfo put_tensor(ArtifactStore& store, const at::Tensor& tensor,
                                           const std::string& name,
                                           const std::string& description = "",
                                           const std::string& owner = "");
// … in Runtime::current()'s store.
GPUMCP_RUNTIME_API ArtifactInfo put_tensor(const at::Tensor& tensor, const std::string& name,
                                           const std::string& description = "",
                                           const std::string& owner = "");

// An artifact's numbers as a tensor of its own shape, in host memory. Error(not_found) when it is
// gone.
GPUMCP_RUNTIME_API at::Tensor get_tensor(ArtifactStore& store, std::string_view id_or_uri);

}  // namespace gpumcp::gpu_runtime
