#include "interfaces/embeddings/workspace_file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

#include "mcp/context.h"

namespace gpumcp::interfaces {
namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void fail(const std::filesystem::path& folder, int error) {
  throw mcp::ToolError("cannot write into the workspace folder " + folder.string() + ": " +
                       std::strerror(error) + "; output \"ref\" needs no folder");
}

std::string random_digits(const std::filesystem::path& folder) {
  std::array<uint8_t, 8> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    fail(folder, errno);
  std::string out;
  for (uint8_t byte : bytes) {
    out += "0123456789abcdef"[byte >> 4];
    out += "0123456789abcdef"[byte & 15];
  }
  return out;
}

// Of what an interface's own process says: nothing that leads out of the folder, or hides a file.
std::string part_of_name(std::string_view text) {
  std::string out;
  for (const char c : text.substr(0, 100)) {
    const bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-' || c < 0;
    out += fine || (c == '.' && !out.empty()) ? c : '-';
  }
  return out.empty() ? "result" : out;
}

}  // namespace

std::filesystem::path write_new_file(const std::filesystem::path& folder, std::string_view stem,
                                     std::string_view extension, std::string_view bytes) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) fail(folder, errno);
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(folder, error);
  if (error) fail(folder, error.value());
  // Opened without following a link that took the folder's place in between; the file is made
  // relative to it.
  const Descriptor parent(::open(real.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (parent.get() < 0) fail(folder, errno);
  std::string name = part_of_name(stem);
  name += '-';
  name += random_digits(folder);
  name += '.';
  name += part_of_name(extension);
  const Descriptor file(::openat(parent.get(), name.c_str(),
                                 O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (file.get() < 0) fail(folder, errno);
  while (!bytes.empty()) {
    const ssize_t n = ::write(file.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int why = errno;
      ::unlinkat(parent.get(), name.c_str(), 0);
      fail(folder, why);
    }
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return real / name;
}

}  // namespace gpumcp::interfaces
