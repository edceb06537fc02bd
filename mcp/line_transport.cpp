#include "mcp/line_transport.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>

namespace gpumcp::mcp {
namespace {

// What may wait for a peer that does not read, before writers wait too.
constexpr size_t kMaxPendingBytes = 32u << 20;
// A peer that takes nothing for so long while something is to be written is cut off: whoever writes
// waits for it, and other peers' answers may wait behind.
constexpr int kStallMs = 5000;

constexpr size_t kMinRead = 64u << 10, kMaxRead = 4u << 20;

class LineTransport final : public Transport {
 public:
  LineTransport(int read_fd, int write_fd, LineTransportOptions options)
      : read_fd_(read_fd),
        write_fd_(write_fd),
        wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        options_(options) {
    struct stat info{};
    is_socket_ = fstat(write_fd_, &info) == 0 && S_ISSOCK(info.st_mode);
    if (!is_socket_) {
      // A description of our own can be non-blocking without changing the one that others share.
      const int own = open(
          fmt::format("/proc/self/fd/{}", write_fd_).c_str(),
          O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY | (S_ISREG(info.st_mode) ? O_APPEND : 0));
      if (own >= 0 && !S_ISREG(info.st_mode)) {
        if (write_fd_ != read_fd_) ::close(write_fd_);
        write_fd_ = own;
      } else if (own >= 0) {
        ::close(own);
      }
    }
  }

  ~LineTransport() override {
    close();
    ::close(read_fd_);
    if (write_fd_ != read_fd_) ::close(write_fd_);
    ::close(wake_fd_);
  }

  Result<std::optional<std::string>> read() override {
    while (true) {
      if (closed_) return std::optional<std::string>();
      // Look for a line in what has come.
      if (const size_t newline = buffer_.find('\n', searched_); newline != buffer_.npos) {
        std::string line = buffer_.substr(start_, newline - start_);
        start_ = searched_ = newline + 1;
        if (start_ == buffer_.size()) {
          buffer_.clear();
          start_ = searched_ = 0;
        }
        if (skipping_) {
          skipping_ = false;
          return too_long();
        }
        if (line.ends_with('\r')) line.pop_back();
        if (line.size() > options_.max_message_bytes) return too_long();
        if (line.find_first_not_of(" \t") == line.npos) continue;
        return line;
      }
      searched_ = buffer_.size();
      // One byte more than the limit may still be a line's '\r': the verdict must not hang on how
      // the bytes were cut.
      if (skipping_ || buffer_.size() - start_ > options_.max_message_bytes + 1) {
        skipping_ = true;
        buffer_.clear();
        start_ = searched_ = 0;
      } else if (start_ > 0) {
        buffer_.erase(0, start_);
        searched_ -= start_;
        start_ = 0;
      }
      if (ended_) return end_of_input();
      if (auto got = fill(); !got) return tl::unexpected(std::move(got.error()));
    }
  }

  Result<void> write(std::string_view message) override {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return failed_ || pending_.size() < kMaxPendingBytes; });
    if (failed_) return fail(ErrorCode::closed, "the peer closed the connection");
    // A newline between two tokens is legal JSON, but here it would split the message in two.
    const size_t begin = pending_.size();
    pending_.append(message);
    for (size_t at = begin; (at = pending_.find_first_of("\r\n", at)) != pending_.npos;)
      pending_[at] = ' ';
    pending_ += '\n';
    if (writing_) return {};  // the thread that writes now takes it along
    writing_ = true;
    while (!pending_.empty() && !failed_) {
      std::swap(out_, pending_);
      room_.notify_all();
      lock.unlock();
      const bool ok = send_all(out_);
      out_.clear();
      if (out_.capacity() > (1u << 20)) out_.shrink_to_fit();
      lock.lock();
      if (!ok) failed_ = true;
    }
    writing_ = false;
    room_.notify_all();
    if (failed_) return fail(ErrorCode::closed, "the peer closed the connection");
    return {};
  }

  void close() noexcept override {
    closed_ = true;
    const uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(wake_fd_, &one, sizeof one);
    if (is_socket_) shutdown(write_fd_, SHUT_RDWR);
    std::scoped_lock lock(mutex_);
    failed_ = true;
    room_.notify_all();
  }

 private:
  Result<std::optional<std::string>> too_long() const {
    return fail(
        ErrorCode::invalid_request,
        fmt::format("a message is longer than the limit of {} bytes", options_.max_message_bytes));
  }

  Result<std::optional<std::string>> end_of_input() {
    // A last line without a newline still counts, unless the transport was closed from this side.
    if (!closed_ && !skipping_ && buffer_.find_first_not_of(" \t\r", start_) != buffer_.npos) {
      std::string line = buffer_.substr(start_);
      buffer_.clear();
      start_ = searched_ = 0;
      return line;
    }
    return std::optional<std::string>();
  }

  // Waits for bytes; sets ended_ at the end of the input.
  Result<void> fill() {
    pollfd fds[2] = {{read_fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
    while (poll(fds, 2, -1) < 0) {
      if (errno != EINTR)
        return fail(ErrorCode::io_error, fmt::format("poll: {}", std::strerror(errno)));
    }
    if (fds[1].revents) {
      ended_ = true;
      return {};
    }
    const size_t old = buffer_.size();
    buffer_.resize(old + want_);
    ssize_t n;
    do n = ::read(read_fd_, buffer_.data() + old, want_);
    while (n < 0 && errno == EINTR);
    const int error = errno;
    // Room follows what comes, not what has come: it is zeroed for each read, and a peer that sends
    // a long line byte by byte must not make that megabytes.
    const size_t got = n > 0 ? static_cast<size_t>(n) : 0;
    if (got == want_)
      want_ = std::min(2 * want_, kMaxRead);
    else if (got < want_ / 4)
      want_ = std::max(want_ / 2, kMinRead);
    buffer_.resize(old + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    if (n == 0 || (n < 0 && (error == ECONNRESET || error == EPIPE)))
      ended_ = true;
    else if (n < 0 && error != EAGAIN)
      return fail(ErrorCode::io_error, fmt::format("read: {}", std::strerror(error)));
    return {};
  }

  // write() to a pipe whose reader has gone raises SIGPIPE, which would end a program that does not
  // ignore it.
  ssize_t write_without_signal(std::string_view bytes) {
    sigset_t pipe_signal, old, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &old);
    sigpending(&pending);
    const ssize_t n = ::write(write_fd_, bytes.data(), bytes.size());
    const int error = errno;
    if (n < 0 && error == EPIPE && !sigismember(&pending, SIGPIPE)) {
      const timespec now{};
      while (sigtimedwait(&pipe_signal, nullptr, &now) < 0 && errno == EINTR) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
    errno = error;
    return n;
  }

  bool send_all(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n =
          is_socket_ ? send(write_fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT)
                     : write_without_signal(bytes);
      if (n >= 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        pollfd fds[2] = {{write_fd_, POLLOUT, 0}, {wake_fd_, POLLIN, 0}};
        const int ready = poll(fds, 2, kStallMs);
        if (ready == 0 || (ready < 0 && errno != EINTR)) return false;
        if (fds[1].revents) return false;
      } else if (errno != EINTR) {
        return false;
      }
    }
    return true;
  }

  const int read_fd_;
  int write_fd_;
  const int wake_fd_;
  const LineTransportOptions options_;
  bool is_socket_ = false;
  std::atomic<bool> closed_ = false;

  // The reader's alone.
  std::string buffer_;
  size_t start_ = 0, searched_ = 0, want_ = kMinRead;
  bool skipping_ = false, ended_ = false;

  std::mutex
      mutex_;  // guards what follows, but out_, which belongs to the thread that set writing_
  std::condition_variable room_;
  std::string pending_, out_;
  bool writing_ = false, failed_ = false;
};

// The address of `path`; a path that is too long is reached as /proc/self/fd/<folder>/<name>.
struct UnixAddress {
  explicit UnixAddress(const std::filesystem::path& path) {
    address.sun_family = AF_UNIX;
    std::string text = path.string();
    if (text.size() >= sizeof address.sun_path) {
      folder = open(path.has_parent_path() ? path.parent_path().c_str() : ".",
                    O_PATH | O_DIRECTORY | O_CLOEXEC);
      text = fmt::format("/proc/self/fd/{}/{}", folder, path.filename().string());
    }
    fits = text.size() < sizeof address.sun_path;
    if (fits) std::memcpy(address.sun_path, text.c_str(), text.size() + 1);
  }
  ~UnixAddress() {
    if (folder >= 0) ::close(folder);
  }
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address); }

  sockaddr_un address{};
  int folder = -1;
  bool fits = false;
};

tl::unexpected<Error> socket_error(const char* what, const std::filesystem::path& path) {
  const int error = errno;
  return fail(error == ENOENT || error == ECONNREFUSED ? ErrorCode::closed : ErrorCode::io_error,
              fmt::format("{} {}: {}", what, path.string(), std::strerror(error)));
}

}  // namespace

std::unique_ptr<Transport> make_line_transport(int read_fd, int write_fd,
                                               LineTransportOptions options) {
  return std::make_unique<LineTransport>(read_fd, write_fd, options);
}

Result<std::unique_ptr<Transport>> take_stdio(LineTransportOptions options) {
  const int in = fcntl(0, F_DUPFD_CLOEXEC, 3);
  const int out = fcntl(1, F_DUPFD_CLOEXEC, 3);
  if (in < 0 || out < 0)
    return fail(ErrorCode::io_error, "stdin or stdout is closed: an MCP host connects both");
  const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  dup2(null_fd, 0);  // nobody else may read the peer's messages
  ::close(null_fd);
  dup2(2, 1);
  return make_line_transport(in, out, options);
}

Result<int> connect_unix(const std::filesystem::path& path) {
  UnixAddress address(path);
  if (!address.fits)
    return fail(ErrorCode::io_error, fmt::format("socket name too long: {}", path.string()));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return socket_error("cannot make a socket for", path);
  if (connect(fd, address.get(), sizeof address.address) != 0) {
    auto error = socket_error("cannot connect to", path);
    ::close(fd);
    return error;
  }
  return fd;
}

Result<int> listen_unix(const std::filesystem::path& path) {
  if (auto other = connect_unix(path)) {
    ::close(*other);
    return fail(ErrorCode::io_error, fmt::format("another server listens on {}", path.string()));
  }
  // Only what a server left behind goes away.
  if (struct stat info{}; lstat(path.c_str(), &info) == 0) {
    if (!S_ISSOCK(info.st_mode))
      return fail(ErrorCode::io_error,
                  fmt::format("{} exists and is no socket; choose another path", path.string()));
    ::unlink(path.c_str());
  }
  UnixAddress address(path);
  if (!address.fits)
    return fail(ErrorCode::io_error, fmt::format("socket name too long: {}", path.string()));
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return socket_error("cannot make a socket for", path);
  const mode_t old = umask(0177);
  const bool ok = bind(fd, address.get(), sizeof address.address) == 0 && listen(fd, 256) == 0;
  const int error = errno;
  umask(old);
  if (!ok) {
    ::close(fd);
    errno = error;
    return socket_error("cannot listen on", path);
  }
  return fd;
}

}  // namespace gpumcp::mcp
