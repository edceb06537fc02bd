#include "gpu_runtime/tensors.h"

#include <cstring>

#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/npy.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/safetensors.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {

std::vector<float> to_vector(const at::Tensor& tensor) {
  if (!tensor.defined())
    throw Error(ErrorCode::invalid_argument, "to_vector: the tensor was never set");
  const at::Tensor host = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  const float* begin = host.const_data_ptr<float>();
  return {begin, begin + host.numel()};
}

std::string dtype_name(const at::Tensor& tensor) {
  return std::string(to_string(checkpoint_dtype(tensor.scalar_type())));
}

ArtifactInfo put_tensor(ArtifactStore& store, const at::Tensor& tensor, const std::string& name,
                        const std::string& description, const std::string& owner) {
  if (!tensor.defined())
    throw Error(ErrorCode::invalid_argument, "put_tensor: the tensor was never set");
  at::Tensor host = tensor.detach().to(at::kCPU);
  if (host.scalar_type() == at::kBFloat16) host = host.to(at::kFloat);
  host = host.contiguous();
  const Dtype dtype = checkpoint_dtype(host.scalar_type());
  Artifact artifact;
  artifact.shape = host.sizes().vec();
  artifact.dtype = to_string(dtype);
  artifact.name = name;
  artifact.description = description;
  artifact.owner = owner;
  artifact.made_by = CallScope::current_limits().caller;
  artifact.bytes = write_npy(dtype, artifact.shape,
                             {static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()});
  return store.put(std::move(artifact));
}

ArtifactInfo put_tensor(const at::Tensor& tensor, const std::string& name,
                        const std::string& description, const std::string& owner) {
  return put_tensor(Runtime::current().artifacts(), tensor, name, description, owner);
}

ArtifactInfo put_tensors(ArtifactStore& store, const std::map<std::string, at::Tensor>& tensors,
                         const std::string& name, const std::string& description,
                         const std::string& owner) {
  std::vector<at::Tensor> hosts;  // keep what the arrays point into
  std::vector<NamedArray> arrays;
  for (const auto& [key, tensor] : tensors) {
    if (!tensor.defined())
      throw Error(ErrorCode::invalid_argument, "put_tensors: " + key + " was never set");
    const at::Tensor& host = hosts.emplace_back(tensor.detach().to(at::kCPU).contiguous());
    arrays.push_back({key,
                      checkpoint_dtype(host.scalar_type()),
                      host.sizes().vec(),
                      {static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()}});
  }
  Artifact artifact;
  artifact.name = name;
  artifact.description = description;
  artifact.owner = owner;
  artifact.made_by = CallScope::current_limits().caller;
  artifact.mime_type = kSafetensorsMime;
  artifact.bytes = write_safetensors(arrays, {{"name", name}});
  return store.put(std::move(artifact));
}

at::Tensor get_tensor(ArtifactStore& store, std::string_view id_or_uri) {
  return to_tensor(read_array(store, id_or_uri, CallScope::current_limits().caller));
}

at::Tensor to_tensor(const Array& array) {
  at::Tensor tensor = at::empty(array.shape, at::TensorOptions(torch_dtype(array.dtype)));
  if (!array.data.empty())
    std::memcpy(tensor.mutable_data_ptr(), array.data.data(), array.data.size());
  return tensor;
}

}  // namespace gpumcp::gpu_runtime
