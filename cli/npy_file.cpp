#include "cli/npy_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace gpumcp::cli {
namespace {

constexpr size_t kHeaderBytes = 128;  // version 1.0, padded, so that any n fits

std::string header(uint64_t rows, uint64_t columns) {
  std::string text =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  text.resize(kHeaderBytes - 11, ' ');
  return std::string("\x93NUMPY\x01\x00\x76\x00", 10) + text + "\n";
}
static_assert(kHeaderBytes == 10 + 0x76);

}  // namespace

NpyFile::NpyFile(std::string path)
    : path_(std::move(path)), part_(fmt::format("{}.{}.part", path_, getpid())) {
  file_ = std::fopen(part_.c_str(), "wb");
  if (!file_)
    throw std::invalid_argument(fmt::format("cannot write {}: {}", part_, std::strerror(errno)));
  write(header(0, 0));
}

NpyFile::~NpyFile() {
  if (file_) std::fclose(file_);
  if (file_) ::unlink(part_.c_str());
}

void NpyFile::write(std::string_view bytes) {
  if (std::fwrite(bytes.data(), 1, bytes.size(), file_) != bytes.size())
    throw std::runtime_error(fmt::format("cannot write {}: {}", part_, std::strerror(errno)));
}

void NpyFile::append(std::string_view bytes) { write(bytes); }

void NpyFile::commit(uint64_t rows, uint64_t columns) {
  std::rewind(file_);
  write(header(rows, columns));
  const bool closed = std::fclose(std::exchange(file_, nullptr)) == 0;
  if (!closed || std::rename(part_.c_str(), path_.c_str()) != 0) {
    const std::string why = std::strerror(errno);
    ::unlink(part_.c_str());
    throw std::runtime_error(fmt::format("cannot write {}: {}", path_, why));
  }
}

}  // namespace gpumcp::cli
