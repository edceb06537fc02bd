#include "gpu_runtime/tensors.h"

#include <cstring>

#include "gpu_runtime/error.h"
#include "gpu_runtime/npy.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {

std::vector<float> to_vector(const at::Tensor& tensor) {
  if (!tensor.defined())
    throw Error(ErrorCode::invalid_argument, "to_vector: the tensor was never set");
  const at::Tensor host = tensor.detach().to(at::kCPU, at::kFloat).contiguous();
  const float* begin = host.const_data_ptr<float>();
  return {begin, begin + host.numel()};
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
  artifact.bytes = write_npy(dtype, artifact.shape,
                             {static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()});
  return store.put(std::move(artifact));
}

ArtifactInfo put_tensor(const at::Tensor& tensor, const std::string& name,
                        const std::string& description, const std::string& owner) {
  return put_tensor(Runtime::current().artifacts(), tensor, name, description, owner);
}

at::Tensor get_tensor(ArtifactStore& store, std::string_view id_or_uri) {
  const auto artifact = store.get(id_or_uri);
  const NpyView view = read_npy(artifact->bytes, artifact->uri);
  at::Tensor tensor = at::empty(view.shape, at::TensorOptions(torch_dtype(view.dtype)));
  if (!view.data.empty())
    std::memcpy(tensor.mutable_data_ptr(), view.data.data(), view.data.size());
  return tensor;
}

}  // namespace gpumcp::gpu_runtime
