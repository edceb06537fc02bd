// Bytes are no .npy, or an array whose data are what its shape says, inside the bytes; written anew
// it is read alike.
#include "gpu_runtime/npy.h"

#include <algorithm>

#include "gpu_runtime/error.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::gpu_runtime;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  NpyView view;
  try {
    view = read_npy(bytes);
  } catch (const Error& error) {
    FUZZ_CHECK(error.code() == ErrorCode::invalid_argument);
    return 0;
  }
  FUZZ_CHECK(view.data.empty() || view.data.data() + view.data.size() ==
                                      reinterpret_cast<const std::byte*>(data) + size);
  uint64_t nbytes = item_size(view.dtype);
  for (const int64_t n : view.shape) nbytes *= static_cast<uint64_t>(n);
  FUZZ_CHECK(nbytes == view.data.size());
  const std::string anew = write_npy(view.dtype, view.shape, view.data);
  const NpyView again = read_npy(anew);
  FUZZ_CHECK(again.dtype == view.dtype && again.shape == view.shape);
  FUZZ_CHECK(std::ranges::equal(again.data, view.data));
  return 0;
}
