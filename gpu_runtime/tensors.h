#pragma once

// From tensors to what leaves the runtime: plain vectors and artifacts. Free functions, callable
// from any thread.
#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "gpu_runtime/artifact_view.h"
#include "gpu_runtime/artifacts.h"
#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

// All numbers in order, as float32, from whatever device and type.
GPUMCP_RUNTIME_API std::vector<float> to_vector(const at::Tensor& tensor);

// "float32": what people call the type of its numbers.
GPUMCP_RUNTIME_API std::string dtype_name(const at::Tensor& tensor);

// Keeps the tensor as .npy in the store (bfloat16 as float32, which .npy can name).
GPUMCP_RUNTIME_API ArtifactInfo put_tensor(ArtifactStore& store, const at::Tensor& tensor,
                                           const std::string& name,
                                           const std::string& description = "",
                                           const std::string& owner = "");
// … in Runtime::current()'s store.
GPUMCP_RUNTIME_API ArtifactInfo put_tensor(const at::Tensor& tensor, const std::string& name,
                                           const std::string& description = "",
                                           const std::string& owner = "");

// Keeps several, by name, as one artifact in safetensors, each in its own type.
GPUMCP_RUNTIME_API ArtifactInfo put_tensors(ArtifactStore& store,
                                            const std::map<std::string, at::Tensor>& tensors,
                                            const std::string& name,
                                            const std::string& description = "",
                                            const std::string& owner = "");

// A copy in host memory.
GPUMCP_RUNTIME_API at::Tensor to_tensor(const Array& array);
// The numbers that a URI names (artifact_view.h: all of an artifact, or a part), in host memory,
// for the caller of the thread's CallScope. Error(not_found) when it is gone.
GPUMCP_RUNTIME_API at::Tensor get_tensor(ArtifactStore& store, std::string_view id_or_uri);

}  // namespace gpumcp::gpu_runtime
