// NpyFile: a float32 array of shape [n, d] on its way to a .npy file, row by row; n shows at the
// end. It grows as FILE.part beside its place and moves there when it is whole; without commit() it
// is removed. Owned by one thread.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace gpumcp::cli {

class NpyFile {
 public:
  // Throws std::invalid_argument when no file can be made there.
  explicit NpyFile(std::string path);
  ~NpyFile();
  NpyFile(const NpyFile&) = delete;
  NpyFile& operator=(const NpyFile&) = delete;

  // Both throw std::runtime_error (a full disk).
  void append(std::string_view bytes);  // whole rows
  void commit(uint64_t rows, uint64_t columns);

 private:
  void write(std::string_view bytes);

  const std::string path_, part_;
  std::FILE* file_ = nullptr;
};

}  // namespace gpumcp::cli
