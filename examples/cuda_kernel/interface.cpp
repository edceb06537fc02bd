// An interface whose function is a CUDA kernel of the author's own. README.md says how to build and
// run it.
#include <gpumcp/interface.h>

#include "gpu_runtime/device.h"
#include "gpu_runtime/device_mark.h"
#include "kernel.h"

using namespace gpumcp;

namespace {

constexpr int64_t kMaxRows = 1 << 20;  // of b: a grid has room for no more of them than this

struct CosineMatrix {
  TensorRef matrix;
  int64_t rows, columns;
};
GPUMCP_DESCRIBE_DOC(CosineMatrix, (matrix, "Where the matrix is kept, float32 [rows, columns]."),
                    (rows, "Rows of a."), (columns, "Rows of b."))

CosineMatrix cosine_matrix(const TensorRef& a, const TensorRef& b) {
  at::Tensor left = a.floating(2, "a"), right = b.floating(2, "b");
  if (left.size(1) != right.size(1) || left.size(0) > kMaxRows || right.size(0) > kMaxRows) {
    throw ToolError("arguments.b: expected rows of " + std::to_string(left.size(1)) +
                    " values, as a has them, and at most " + std::to_string(kMaxRows) +
                    " rows of each; got " + std::to_string(right.size(0)) + " rows of " +
                    std::to_string(right.size(1)));
  }
  const c10::Device device =
      gpu_runtime::resolve_device("cuda");  // where there is none, it says why
  left = left.to(device).contiguous();
  right = right.to(device).contiguous();
  const at::Tensor out = left.new_empty({left.size(0), right.size(0)});
  if (out.numel() > 0) {
    const char* error = launch_cosine_matrix(
        left.const_data_ptr<float>(), right.const_data_ptr<float>(), out.mutable_data_ptr<float>(),
        left.size(0), right.size(0), left.size(1), gpu_runtime::current_stream(device));
    if (error != nullptr) throw ToolError(std::string("the kernel could not be started: ") + error);
  }
  return {TensorRef::keep(out, "cosine.npy"), out.size(0), out.size(1)};
}

}  // namespace

GPUMCP_INTERFACE(cuda_kernel, interface) {
  interface.expose("cosine_matrix",
                   "Cosine similarity of every row of one matrix with every row of another, on the "
                   "GPU. Takes and gives gpumcp://artifacts/ URIs; ?slice=0:10 behind one takes a "
                   "part of it.",
                   cosine_matrix, arg("a", "A matrix [n, d], as get_embeddings keeps it."),
                   arg("b", "A matrix [m, d]."));
}
