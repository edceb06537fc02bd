// A header is refused with an Error or describes its file exactly: every tensor lies inside, none
// overlap, none leave a hole, and the header written anew is read alike. Input: a file, or, where
// it begins with '{', a header alone, for 64 bytes of data.
#include "gpu_runtime/safetensors.h"

#include <algorithm>

#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::gpu_runtime;

namespace {

constexpr size_t kData = 64;

std::string file_of(std::string_view header) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(header.size() >> (8 * i) & 0xff);
  return out += header;
}

SafetensorsHeader read(const std::string& file, uint64_t size) {
  return parse_safetensors_header(std::as_bytes(std::span(file)), size, "x.safetensors");
}

std::string write(const SafetensorsHeader& header) {
  Json json = Json::object();
  if (!header.metadata.empty()) json["__metadata__"] = header.metadata;
  for (const TensorInfo& tensor : header.tensors) {
    json[tensor.name] = {{"dtype", facts(tensor.dtype).safetensors},
                         {"shape", tensor.shape},
                         {"data_offsets", {tensor.begin, tensor.begin + tensor.nbytes}}};
  }
  return json.dump();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const bool bare = bytes.starts_with('{');
  const std::string file = bare ? file_of(bytes) : std::string(bytes);
  const uint64_t file_size = file.size() + (bare ? kData : 0);
  try {
    const SafetensorsHeader header = read(file, file_size);
    uint64_t end = 0;
    for (const TensorInfo& tensor : header.tensors) {
      uint64_t nbytes = item_size(tensor.dtype);
      for (const int64_t n : tensor.shape) nbytes *= static_cast<uint64_t>(n);
      FUZZ_CHECK(nbytes == tensor.nbytes && tensor.begin == end);
      end += nbytes;
    }
    FUZZ_CHECK(header.data_begin + end == file_size);
    const std::string anew = file_of(write(header));
    const SafetensorsHeader again = read(anew, anew.size() + end);
    FUZZ_CHECK(again.metadata == header.metadata && again.tensors.size() == header.tensors.size());
    const auto has = [&](const TensorInfo& one) {
      return std::ranges::any_of(again.tensors, [&](const TensorInfo& other) {
        return one.name == other.name && one.shape == other.shape && one.begin == other.begin;
      });
    };
    FUZZ_CHECK(std::ranges::all_of(header.tensors, has));
  } catch (const Error& error) {
    FUZZ_CHECK(error.code() == ErrorCode::corrupt_checkpoint);
    FUZZ_CHECK(std::string_view(error.what()).starts_with("x.safetensors: "));
  }
  return 0;
}
