// RuntimeFolder: where the processes of one sandbox and user meet: $XDG_RUNTIME_DIR/gpumcp/<key>/,
// else /tmp/gpumcp-<uid>/<key>/, mode 0700 and ours. It holds the worker's connection file (0600),
// socket and log. lock() serialises starting and leaving; it locks the folder itself, so an empty
// folder can be removed. Thread-safe as values are; a Lock belongs to one thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "mcp/result.h"

namespace gpumcp::sandbox {

// What a front needs to reach a worker; written by the worker once it listens.
struct ConnectionFile {
  std::string address;  // "unix:/path"
  std::string token;    // for workers behind TCP; a Unix socket is guarded by the folder's mode
  int pid = 0;
  std::string version;    // of the program
  double started_at = 0;  // seconds since the epoch
};

class RuntimeFolder {
 public:
  // Makes the folder if needed. Error io_error names the path, the cause and XDG_RUNTIME_DIR as the
  // way out.
  static mcp::Result<RuntimeFolder> open(const std::string& key);
  // The same without making anything.
  static RuntimeFolder at(const std::string& key) { return RuntimeFolder(base() / key); }
  static std::filesystem::path base();
  // The folders of all sandboxes of this user.
  static std::vector<RuntimeFolder> list();

  const std::filesystem::path& path() const { return path_; }
  std::string key() const { return path_.filename().string(); }
  std::filesystem::path socket() const { return path_ / "worker.sock"; }
  std::filesystem::path log() const { return path_ / "worker.log"; }

  class Lock {
   public:
    Lock(Lock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Lock& operator=(Lock&&) = delete;
    ~Lock();

   private:
    friend class RuntimeFolder;
    explicit Lock(int fd) : fd_(fd) {}
    int fd_;
  };
  // Waits for the lock; makes the folder anew if it went away meanwhile.
  mcp::Result<Lock> lock() const;

  std::optional<ConnectionFile> read_connection() const;
  mcp::Result<void> write_connection(const ConnectionFile& connection) const;
  // Removes the connection file and the socket; with `all` the log and the folder too. Under the
  // lock.
  void remove(bool all) const;
  // The last lines of the worker's log.
  std::string log_tail(size_t max_bytes = 2000) const;

 private:
  explicit RuntimeFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

}  // namespace gpumcp::sandbox
