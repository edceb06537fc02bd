#pragma once

// One .safetensors file, open and mapped read-only. The file is hostile input: open() checks the
// header whole (sizes, dtypes, shape products, ranges, overlaps, holes, duplicate keys) before
// anything is offered, so that data() can never point outside the file. Immutable after open(), so
// any thread may read it; file and mapping end with the last shared_ptr. Weights are read by
// read(), which finds out when the file was cut short meanwhile; touching data() then is the one
// thing that cannot be survived: model stores replace files, they do not rewrite them.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/dtype.h"
#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

// begin counts from the start of the data section. nbytes == product(shape) * item_size(dtype).
struct TensorInfo {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;  // empty: a scalar
  std::uint64_t begin = 0;
  std::uint64_t nbytes = 0;
};

// A checked header: tensors in file order, and the free-form __metadata__.
struct SafetensorsHeader {
  std::vector<TensorInfo> tensors;
  std::map<std::string, std::string> metadata;
  std::uint64_t data_begin = 0;  // in the file: 8 + header length
};

inline constexpr std::uint64_t kMaxSafetensorsHeader = 100'000'000;  // as the reference reader

// Checks a header against the size of the file it opens. `head` holds the file's first bytes: at
// least the whole header where the file has it. Error(corrupt_checkpoint) names origin, tensor and
// reason; a file that ends early is told apart, with the number of missing bytes.
GPUMCP_RUNTIME_API SafetensorsHeader parse_safetensors_header(std::span<const std::byte> head,
                                                              std::uint64_t file_size,
                                                              const std::string& origin);

class GPUMCP_RUNTIME_API SafetensorsFile {
 public:
  static std::shared_ptr<const SafetensorsFile> open(const std::filesystem::path& path);

  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;
  ~SafetensorsFile();

  const std::filesystem::path& path() const { return path_; }
  const std::vector<TensorInfo>& tensors() const { return header_.tensors; }
  const std::map<std::string, std::string>& metadata() const { return header_.metadata; }

  // nullptr when there is no such tensor.
  const TensorInfo* find(std::string_view name) const;

  // The tensor's bytes in the mapping, valid while this object lives. Not aligned to the item size
  // in general. Touching them may wait for the disk.
  std::span<const std::byte> data(const TensorInfo& tensor) const;

  // Copies from the data section. Error(corrupt_checkpoint) when the file ends before.
  void read(std::uint64_t offset, std::span<std::byte> into) const;

  // Bytes of all tensors together: what loading them takes.
  std::uint64_t nbytes() const { return nbytes_; }

 private:
  SafetensorsFile() = default;

  std::filesystem::path path_;
  SafetensorsHeader header_;
  // Sorted, not hashed: a hostile file may hold a million names that collide.
  std::map<std::string_view, const TensorInfo*> by_name_;
  const std::byte* mapping_ = nullptr;
  int fd_ = -1;
  std::uint64_t file_size_ = 0;
  std::uint64_t nbytes_ = 0;
};

// A tensor to write; `data` is as long as shape and dtype say.
struct NamedArray {
  std::string name;
  Dtype dtype = Dtype::f32;
  std::vector<std::int64_t> shape;
  std::span<const std::byte> data;
};

// A whole file's bytes, its data aligned to 8. Error(invalid_argument) for a name that occurs twice
// and for data of another size than shape and dtype say.
GPUMCP_RUNTIME_API std::string write_safetensors(
    std::span<const NamedArray> tensors, const std::map<std::string, std::string>& metadata = {});

}  // namespace gpumcp::gpu_runtime
