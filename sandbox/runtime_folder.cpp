#include "sandbox/runtime_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "mcp/json.h"

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::ErrorCode;
using mcp::fail;
namespace {

// Makes one folder with mode 0700; an existing one must be ours and closed to others.
mcp::Result<void> make_private_folder(const fs::path& path) {
  auto error = [&](const std::string& why) {
    return fail(
        ErrorCode::io_error,
        fmt::format(
            "the runtime folder {} cannot be used: {}; set XDG_RUNTIME_DIR to a folder of your own",
            path.string(), why));
  };
  struct stat info{};
  do {  // a worker that leaves may remove what was there a moment ago
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return error(std::strerror(errno));
  } while (lstat(path.c_str(), &info) != 0 && errno == ENOENT);
  if (!S_ISDIR(info.st_mode)) return error("it is no folder");
  if (info.st_uid != geteuid()) return error("it belongs to another user");
  if ((info.st_mode & 077) != 0 && chmod(path.c_str(), 0700) != 0)
    return error("others may enter it");
  return {};
}

}  // namespace

fs::path RuntimeFolder::base() {
  if (const char* dir = std::getenv("XDG_RUNTIME_DIR"); dir && *dir == '/')
    return fs::path(dir) / "gpumcp";
  return fmt::format("/tmp/gpumcp-{}", geteuid());
}

mcp::Result<RuntimeFolder> RuntimeFolder::open(const std::string& key) {
  const fs::path root = base();
  if (auto ok = make_private_folder(root); !ok) return tl::unexpected(std::move(ok.error()));
  if (auto ok = make_private_folder(root / key); !ok) return tl::unexpected(std::move(ok.error()));
  return RuntimeFolder(root / key);
}

std::vector<RuntimeFolder> RuntimeFolder::list() {
  std::vector<RuntimeFolder> folders;
  struct stat info{};
  if (lstat(base().c_str(), &info) != 0 || !S_ISDIR(info.st_mode) || info.st_uid != geteuid())
    return folders;  // nothing there, or not ours to follow
  std::error_code ignored;
  for (auto& entry : fs::directory_iterator(base(), ignored)) {
    if (entry.is_directory(ignored)) folders.push_back(RuntimeFolder(entry.path()));
  }
  return folders;
}

RuntimeFolder::Lock::~Lock() {
  if (fd_ >= 0) ::close(fd_);
}

mcp::Result<RuntimeFolder::Lock> RuntimeFolder::lock() const {
  while (true) {
    if (auto ok = make_private_folder(path_.parent_path()); !ok)
      return tl::unexpected(std::move(ok.error()));
    if (auto ok = make_private_folder(path_); !ok) return tl::unexpected(std::move(ok.error()));
    Lock lock(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (lock.fd_ < 0) {
      if (errno == ENOENT) continue;
      return fail(ErrorCode::io_error,
                  fmt::format("cannot open {}: {}", path_.string(), std::strerror(errno)));
    }
    while (flock(lock.fd_, LOCK_EX) != 0) {
      if (errno != EINTR)
        return fail(ErrorCode::io_error,
                    fmt::format("cannot lock {}: {}", path_.string(), std::strerror(errno)));
    }
    // A worker that left may have removed the folder that was opened; then there is a new one to
    // lock.
    struct stat ours{}, now{};
    if (fstat(lock.fd_, &ours) == 0 && stat(path_.c_str(), &now) == 0 &&
        ours.st_ino == now.st_ino && ours.st_dev == now.st_dev)
      return lock;
  }
}

std::optional<ConnectionFile> RuntimeFolder::read_connection() const {
  // Whoever may write it says whom to trust and whom to signal: ours alone, and no link.
  const int fd =
      ::open((path_ / "worker.json").c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return std::nullopt;
  struct stat info{};
  std::string text;
  if (fstat(fd, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid()) {
    char buffer[4096];
    for (ssize_t n = 0; text.size() < 65536 && (n = ::read(fd, buffer, sizeof buffer)) > 0;)
      text.append(buffer, static_cast<size_t>(n));
  }
  ::close(fd);
  auto json = mcp::parse_json(text);
  if (!json || !json->is_object()) return std::nullopt;
  try {
    return ConnectionFile{json->at("address"), json->value("token", ""), json->at("pid"),
                          json->value("version", ""), json->value("started_at", 0.0)};
  } catch (const mcp::Json::exception&) {
    return std::nullopt;
  }
}

mcp::Result<void> RuntimeFolder::write_connection(const ConnectionFile& c) const {
  const mcp::Json json = {{"address", c.address},
                          {"token", c.token},
                          {"pid", c.pid},
                          {"version", c.version},
                          {"started_at", c.started_at}};
  const std::string text = mcp::to_text(json) + "\n";
  const fs::path target = path_ / "worker.json", temporary = path_ / "worker.json.new";
  ::unlink(temporary.c_str());
  const int fd =
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool ok =
      fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (fd >= 0) ::close(fd);
  if (!ok || ::rename(temporary.c_str(), target.c_str()) != 0)
    return fail(ErrorCode::io_error,
                fmt::format("cannot write {}: {}", target.string(), std::strerror(errno)));
  return {};
}

void RuntimeFolder::remove(bool all) const {
  std::error_code ignored;
  fs::remove(path_ / "worker.json", ignored);
  fs::remove(socket(), ignored);
  if (!all) return;
  fs::remove(log(), ignored);
  fs::remove(path_, ignored);  // fails while something else is in it, which is right
}

std::string RuntimeFolder::log_tail(size_t max_bytes) const {
  std::ifstream file(log(), std::ios::binary | std::ios::ate);
  if (!file) return {};
  const auto size = static_cast<size_t>(file.tellg());
  const size_t from = size > max_bytes ? size - max_bytes : 0;
  file.seekg(static_cast<std::streamoff>(from));
  std::string text(size - from, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (from) text.erase(0, text.find('\n') + 1);
  return text;
}

}  // namespace gpumcp::sandbox
