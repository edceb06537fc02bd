// Cosine similarity of rows: a tile of both matrices at a time goes through shared memory; products
// and lengths are summed in one pass.
#include <cuda_runtime.h>

#include "kernel.h"

namespace {

constexpr int kTile = 16;

__global__ void cosine_matrix(const float* a, const float* b, float* out, std::int64_t n,
                              std::int64_t m, std::int64_t d) {
  __shared__ float left[kTile][kTile + 1], right[kTile][kTile + 1];
  const std::int64_t i = std::int64_t(blockIdx.y) * kTile + threadIdx.y;
  const std::int64_t j = std::int64_t(blockIdx.x) * kTile + threadIdx.x;
  const std::int64_t row = std::int64_t(blockIdx.x) * kTile + threadIdx.y;  // of b, to read
  float product = 0, left_length = 0, right_length = 0;
  for (std::int64_t k = 0; k < d; k += kTile) {
    const std::int64_t at = k + threadIdx.x;
    left[threadIdx.y][threadIdx.x] = i < n && at < d ? a[i * d + at] : 0.0f;
    right[threadIdx.y][threadIdx.x] = row < m && at < d ? b[row * d + at] : 0.0f;
    __syncthreads();
    for (int c = 0; c < kTile; ++c) {
      const float x = left[threadIdx.y][c], y = right[threadIdx.x][c];
      product += x * y;
      left_length += x * x;
      right_length += y * y;
    }
    __syncthreads();
  }
  if (i >= n || j >= m) return;
  const float both = sqrtf(left_length) * sqrtf(right_length);
  out[i * m + j] = both > 0 ? product / both : 0.0f;  // a row of zeros has no direction
}

}  // namespace

const char* launch_cosine_matrix(const float* a, const float* b, float* out, std::int64_t n,
                                 std::int64_t m, std::int64_t d, void* stream) {
  const dim3 block(kTile, kTile);
  const dim3 grid(static_cast<unsigned>((m + kTile - 1) / kTile),
                  static_cast<unsigned>((n + kTile - 1) / kTile));
  cosine_matrix<<<grid, block, 0, static_cast<cudaStream_t>(stream)>>>(a, b, out, n, m, d);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? nullptr : cudaGetErrorString(error);
}
