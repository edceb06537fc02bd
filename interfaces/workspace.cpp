#include "interfaces/workspace.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

namespace gpumcp::interfaces {
namespace {

namespace fs = std::filesystem;
using mcp::ToolError;

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

[[noreturn]] void fail(const fs::path& folder, const std::string& name, int error) {
  const std::string why = error == ELOOP || error == ENOTDIR
                              ? "a symbolic link or no folder is on the way"
                              : std::strerror(error);
  throw ToolError("the file " + name + " in the workspace " + folder.string() + ": " + why);
}

// The parts of a name below the folder; an absolute one that lies there is taken too.
std::vector<std::string> parts_of(const fs::path& folder, const std::string& name) {
  fs::path path(name);
  if (path.is_absolute()) {
    const fs::path below = path.lexically_normal().lexically_relative(folder);
    if (!below.empty()) path = below;
  }
  std::vector<std::string> parts;
  for (const fs::path& part : path.lexically_normal()) parts.push_back(part.string());
  bool good = !parts.empty() && !path.is_absolute() && !parts.back().empty() &&
              name.find('\0') == name.npos;
  for (const std::string& part : parts) good = good && part != ".." && part != ".";
  if (!good) {
    throw ToolError("\"" + name + "\" is no file below the workspace " + folder.string() +
                    ": give a relative name such as vectors/fear.npy");
  }
  return parts;
}

// The folder that holds the file; the last part is left to the caller.
Descriptor open_parent(const fs::path& folder, const std::vector<std::string>& parts,
                       const std::string& name) {
  Descriptor at(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  for (std::size_t i = 0; at.get() >= 0 && i + 1 < parts.size(); ++i) {
    at = Descriptor(
        ::openat(at.get(), parts[i].c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  if (at.get() < 0) fail(folder, name, errno);
  return at;
}

fs::path canonical(const fs::path& folder, const std::string& name) {
  std::error_code error;
  fs::path real = fs::canonical(folder, error);
  if (error) fail(folder, name, error.value());
  return real;
}

}  // namespace

std::string workspace_of(const mcp::Context& context, const std::string& setting,
                         const std::string& instead) {
  const mcp::Json& meta = context.call()._meta;
  if (const auto it = meta.find("gpumcp/workspace"); it != meta.end() && it->is_string()) {
    if (const auto& folder = it->get_ref<const std::string&>(); !folder.empty()) return folder;
  }
  if (!setting.empty()) return setting;
  throw ToolError("a file needs a workspace folder, and this server has none: " + instead);
}

std::string read_workspace_file(const fs::path& folder, const std::string& name,
                                std::uint64_t max_bytes) {
  const fs::path real = canonical(folder, name);
  const std::vector<std::string> parts = parts_of(real, name);
  const Descriptor parent = open_parent(real, parts, name);
  const Descriptor file(
      ::openat(parent.get(), parts.back().c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file.get() < 0) fail(real, name, errno);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) fail(real, name, errno);
  if (!S_ISREG(status.st_mode)) throw ToolError(name + " is no plain file");
  if (static_cast<std::uint64_t>(status.st_size) > max_bytes) {
    throw ToolError(name + " has " + std::to_string(status.st_size) +
                    " bytes, more than the limit of " + std::to_string(max_bytes) +
                    ": save a part of it");
  }
  std::string bytes(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t filled = 0;
  while (filled < bytes.size()) {
    const ssize_t n = ::read(file.get(), bytes.data() + filled, bytes.size() - filled);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(real, name, errno);
    if (n == 0) break;
    filled += static_cast<std::size_t>(n);
  }
  bytes.resize(filled);
  return bytes;
}

fs::path write_workspace_file(const fs::path& folder, const std::string& name,
                              std::string_view bytes, bool overwrite) {
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) fail(folder, name, errno);
  const fs::path real = canonical(folder, name);
  const std::vector<std::string> parts = parts_of(real, name);
  const Descriptor parent = open_parent(real, parts, name);
  fs::path path = real;
  for (const std::string& part : parts) path /= part;
  auto exists = [&] {
    return ToolError(path.string() +
                     " is there already: give another name, or overwrite = true to replace it");
  };
  struct stat status{};
  if (::fstatat(parent.get(), parts.back().c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) {
    if (!overwrite) throw exists();
    if (!S_ISREG(status.st_mode)) throw ToolError(path.string() + " is no plain file");
  }
  std::uint64_t random = 0;
  if (::getrandom(&random, sizeof random, 0) != sizeof random) fail(real, name, errno);
  const std::string part = "." + parts.back() + "." + std::to_string(random);
  {
    const Descriptor file(::openat(parent.get(), part.c_str(),
                                   O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (file.get() < 0) fail(real, name, errno);
    while (!bytes.empty()) {
      const ssize_t n = ::write(file.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        const int why = errno;
        ::unlinkat(parent.get(), part.c_str(), 0);
        fail(real, name, why);
      }
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  // linkat() fails where somebody made the file meanwhile; rename() replaces it.
  const int moved =
      overwrite ? ::renameat(parent.get(), part.c_str(), parent.get(), parts.back().c_str())
                : ::linkat(parent.get(), part.c_str(), parent.get(), parts.back().c_str(), 0);
  const int why = errno;
  if (moved != 0 || !overwrite) ::unlinkat(parent.get(), part.c_str(), 0);
  if (moved != 0 && why == EEXIST) throw exists();
  if (moved != 0) fail(real, name, why);
  return path;
}

}  // namespace gpumcp::interfaces
