#pragma once

// NumPy's .npy format in memory: version 1.0 written; 1.0 and 2.0 read; little-endian, C order. The
// reader takes hostile bytes: the header is parsed by a small grammar, sizes are checked for
// overflow and against what is there. Free functions, callable from any thread.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/dtype.h"
#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

// A view into bytes that outlive it.
struct NpyView {
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

// The whole file's bytes. Error(invalid_argument) for a dtype that .npy has no name for (bf16:
// convert to f32 first) and for data of another size than shape and dtype say.
GPUMCP_RUNTIME_API std::string write_npy(Dtype dtype, std::span<const std::int64_t> shape,
                                         std::span<const std::byte> data);
GPUMCP_RUNTIME_API std::string write_npy(std::span<const std::int64_t> shape,
                                         std::span<const float> values);

// Error(invalid_argument) says what is wrong; `origin` names the bytes in it.
GPUMCP_RUNTIME_API NpyView read_npy(std::string_view bytes, const std::string& origin = "npy data");

}  // namespace gpumcp::gpu_runtime
