// The kernel's host side: plain C++, so that the interface needs no CUDA compiler.
#pragma once

#include <cstdint>

// out[i * m + j] = cosine of row i of a [n, d] and row j of b [m, d], all in device memory, on the
// stream (a cudaStream_t). Returns at once; null, or what CUDA says is wrong with the launch.
const char* launch_cosine_matrix(const float* a, const float* b, float* out, std::int64_t n,
                                 std::int64_t m, std::int64_t d, void* stream);
