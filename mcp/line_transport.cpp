#include "mcp/line_transport.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <mutex>
#include <tuple>
#include <utility>

namespace gpumcp::mcp {
namespace {

// As much is gathered before a message of write_soon() goes out all the same.
constexpr size_t kMaxGathered = 32u << 10;
// A pipe that can be written to at all takes so much without blocking (POSIX: PIPE_BUF).
constexpr size_t kPipeBytes = 4096;
constexpr size_t kReadBytes = 64u << 10, kMaxReadBytes = 4u << 20;
constexpr size_t kKeptCapacity = 1u << 20;  // of an empty buffer

enum class Sent { all, some, broken };

// A handler and not SIG_IGN, which programs that are started from here would inherit.
void no_signal(int) {}

bool sigpipe_is_harmless() {
  struct sigaction now{};
  return sigaction(SIGPIPE, nullptr, &now) == 0 &&
         (now.sa_handler == SIG_IGN || now.sa_handler == no_signal);
}

class LineTransport final : public Transport {
 public:
  LineTransport(int read_fd, int write_fd, LineTransportOptions options)
      : read_fd_(read_fd),
        write_fd_(write_fd),
        wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        options_(options),
        signal_is_harmless_(sigpipe_is_harmless()) {
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
      never_blocks_ = own >= 0 || S_ISREG(info.st_mode);
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
      if (closed_) return end_of_input();
      // Look for a line in what has come.
      if (const size_t newline = find_newline(); newline != buffer_.npos) {
        std::string line = buffer_.substr(start_, newline - start_);
        start_ = searched_ = newline + 1;
        if (start_ == filled_) forget();
        if (skipping_) {
          skipping_ = false;
          return too_long();
        }
        if (line.ends_with('\r')) line.pop_back();
        if (line.size() > options_.max_message_bytes) return too_long();
        if (line.find_first_not_of(" \t") == line.npos) continue;
        return line;
      }
      searched_ = filled_;
      // One byte more than the limit may still be a line's '\r': the verdict must not hang on how
      // the bytes were cut.
      if (skipping_ || filled_ - start_ > options_.max_message_bytes + 1) {
        skipping_ = true;
        forget();
      }
      if (ended_) {
        push_out();
        return end_of_input();
      }
      if (auto got = fill(); !got) return tl::unexpected(std::move(got.error()));
    }
  }

  Result<void> write(std::string_view message) override {
    std::unique_lock lock(mutex_);
    if (auto ok = may_queue(); !ok) return ok;
    // Alone, it goes out from where it lies; what the peer does not take is kept.
    if (!writing_ && !stalled_ && pending_.empty() && message.find('\n') == message.npos &&
        message.find('\r') == message.npos) {
      writing_ = true;
      lock.unlock();
      const auto [sent, state] = send_some(message, "\n");
      lock.lock();
      if (state != Sent::broken && sent <= message.size()) {
        out_.assign(message.substr(sent));
        out_ += '\n';
        unsent_ = out_.size();
      }
      return go_on(lock, state);
    }
    append(message);
    return pump(lock);
  }

  Result<void> write_soon(std::string_view message) override {
    std::unique_lock lock(mutex_);
    if (auto ok = may_queue(); !ok) return ok;
    append(message);
    return pending_.size() < kMaxGathered ? Result<void>() : pump(lock);
  }

  bool has_message() const override { return find_newline() != buffer_.npos; }

  void flush(std::chrono::milliseconds limit) override {
    const auto deadline = std::chrono::steady_clock::now() + limit;
    std::unique_lock lock(mutex_);
    while (!failed_ && (writing_ || stalled_ || !pending_.empty())) {
      if (!stalled_) {
        (void)pump(lock);
        if (writing_ && written_.wait_until(lock, deadline) == std::cv_status::timeout) return;
        continue;
      }
      lock.unlock();
      pollfd fd{write_fd_, POLLOUT, 0};
      const auto left =
          std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      const int ready = poll(&fd, 1, static_cast<int>(std::max<int64_t>(left.count(), 0)));
      lock.lock();
      if (ready == 0) return;
      if (ready > 0) resume(lock);
    }
  }

  void close() noexcept override {
    std::unique_lock lock(mutex_);
    if (!failed_ && !pending_.empty()) (void)pump(lock);  // as far as the peer takes it now
    end();
  }

 private:
  Result<std::optional<std::string>> too_long() const {
    return fail(
        ErrorCode::invalid_request,
        fmt::format("a message is longer than the limit of {} bytes", options_.max_message_bytes));
  }

  Result<std::optional<std::string>> end_of_input() {
    {
      std::scoped_lock lock(mutex_);
      if (!why_.empty() && !std::exchange(told_, true))
        return tl::unexpected(closed_error().error());
    }
    // A last line without a newline still counts, unless the transport was closed from this side.
    std::string line = buffer_.substr(start_, filled_ - start_);
    forget();
    if (!closed_ && !skipping_ && line.find_first_not_of(" \t\r") != line.npos) return line;
    return std::optional<std::string>();
  }

  size_t find_newline() const {
    const void* at = std::memchr(buffer_.data() + searched_, '\n', filled_ - searched_);
    return at ? static_cast<size_t>(static_cast<const char*>(at) - buffer_.data()) : buffer_.npos;
  }

  void forget() {
    start_ = searched_ = filled_ = 0;
    if (buffer_.size() > kKeptCapacity) buffer_ = {};
  }

  // Waits for bytes; sets ended_ at the end of the input. Meanwhile sends what the peer did not
  // take before.
  Result<void> fill() {
    pollfd fds[3] = {{read_fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}, {-1, POLLOUT, 0}};
    do {
      fds[2].fd = push_out() ? write_fd_ : -1;
      if (poll(fds, 3, -1) < 0) {
        if (errno == EINTR) continue;
        return fail(ErrorCode::io_error, fmt::format("poll: {}", std::strerror(errno)));
      }
      if (fds[2].fd >= 0 && fds[2].revents) {
        std::unique_lock lock(mutex_);
        resume(lock);
      }
      if (fds[1].revents) {
        uint64_t count;
        [[maybe_unused]] auto n = ::read(wake_fd_, &count, sizeof count);
        if (closed_) {
          ended_ = true;
          return {};
        }
      }
    } while (!fds[0].revents);
    // Room for as much again as there is, so that a long line is moved seldom.
    if (start_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + start_, filled_ - start_);
      searched_ -= start_;
      filled_ -= start_;
      start_ = 0;
    }
    if (buffer_.size() - filled_ < kReadBytes)
      buffer_.resize(filled_ + std::max(kReadBytes, std::min(filled_, kMaxReadBytes)));
    ssize_t n;
    do n = ::read(read_fd_, buffer_.data() + filled_, buffer_.size() - filled_);
    while (n < 0 && errno == EINTR);
    const int error = errno;
    filled_ += static_cast<size_t>(std::max<ssize_t>(n, 0));
    if (n == 0 || (n < 0 && (error == ECONNRESET || error == EPIPE)))
      ended_ = true;
    else if (n < 0 && error != EAGAIN)
      return fail(ErrorCode::io_error, fmt::format("read: {}", std::strerror(error)));
    return {};
  }

  // --- writing; the mutex is held where a lock is passed or nothing else is said
  // -------------------

  Result<void> closed_error() const {
    return fail(ErrorCode::closed,
                why_.empty() ? "the peer closed the connection" : "the peer was cut off: " + why_);
  }

  // Whoever does not read is cut off at the limit: memory is bounded by it and by one message more.
  Result<void> may_queue() {
    if (!failed_ && unsent_ + pending_.size() > options_.max_unread_bytes) {
      why_ = fmt::format("{} bytes wait for it to read them; the limit is {} bytes",
                         unsent_ + pending_.size(), options_.max_unread_bytes);
      end();
    }
    return failed_ ? closed_error() : Result<void>();
  }

  // A newline between two tokens is legal JSON, but here it would split the message in two.
  void append(std::string_view message) {
    const size_t begin = pending_.size();
    pending_.append(message);
    for (const char c : {'\n', '\r'})
      for (size_t at = begin; (at = pending_.find(c, at)) != pending_.npos;) pending_[at] = ' ';
    pending_ += '\n';
  }

  // Sends until nothing is left or the peer takes no more; nothing, if a thread does so already.
  Result<void> pump(std::unique_lock<std::mutex>& lock) {
    if (writing_ || stalled_) return {};
    writing_ = true;
    return go_on(lock, Sent::all);
  }

  // The thread that has set writing_: `state` is that of its last send.
  Result<void> go_on(std::unique_lock<std::mutex>& lock, Sent state) {
    while (state == Sent::all && !failed_ && !pending_.empty()) {
      std::swap(out_, pending_);
      state = send_out(lock);
    }
    writing_ = false;
    written_.notify_all();
    if (state == Sent::broken) failed_ = true;
    if (failed_) {
      drop();
      return closed_error();
    }
    // The reading thread goes on when the peer takes more.
    if (state == Sent::some && !std::exchange(stalled_, true)) wake();
    return {};
  }

  Sent send_out(std::unique_lock<std::mutex>& lock) {
    unsent_ = out_.size() - gone_;
    lock.unlock();
    const auto [sent, state] = send_some(std::string_view(out_).substr(gone_), {});
    lock.lock();
    gone_ += sent;
    if (state == Sent::all || gone_ > out_.size() / 2) {
      out_.erase(0, gone_);
      gone_ = 0;
      if (out_.empty() && out_.capacity() > kKeptCapacity) out_.shrink_to_fit();
    }
    unsent_ = out_.size() - gone_;
    return state;
  }

  // The peer takes more, or has gone.
  void resume(std::unique_lock<std::mutex>& lock) {
    if (writing_ || !stalled_ || failed_) return;
    writing_ = true;
    const Sent state = send_out(lock);
    stalled_ = state == Sent::some;
    (void)go_on(lock, state);
  }

  // Sends what was gathered. True: the peer does not take all of it now.
  bool push_out() {
    std::unique_lock lock(mutex_);
    if (!pending_.empty()) (void)pump(lock);
    return stalled_ && !writing_;
  }

  void end() {
    closed_ = failed_ = true;
    wake();
    if (is_socket_) shutdown(write_fd_, SHUT_RDWR);
    if (!writing_) drop();
    written_.notify_all();
  }

  void drop() {
    out_ = pending_ = {};
    gone_ = unsent_ = 0;
    stalled_ = false;
  }

  void wake() {
    const uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(wake_fd_, &one, sizeof one);
  }

  // --- system calls, by the thread that has set writing_, without the mutex
  // ------------------------

  // Both parts, as far as the peer takes them now.
  std::pair<size_t, Sent> send_some(std::string_view first, std::string_view second) {
    size_t sent = 0;
    const size_t all = first.size() + second.size();
    while (sent < all) {
      const std::string_view a = first.substr(std::min(sent, first.size()));
      const std::string_view b = second.substr(sent - std::min(sent, first.size()));
      iovec parts[2] = {{const_cast<char*>(a.data()), a.size()},
                        {const_cast<char*>(b.data()), b.size()}};
      const ssize_t n = a.empty() ? write_once(parts + 1, 1) : write_once(parts, b.empty() ? 1 : 2);
      if (n >= 0)
        sent += static_cast<size_t>(n);
      else if (errno == EAGAIN || errno == EWOULDBLOCK)
        return {sent, Sent::some};
      else if (errno != EINTR)
        return {sent, Sent::broken};
    }
    return {sent, Sent::all};
  }

  ssize_t write_once(iovec* parts, int count) {
    if (is_socket_) {
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = static_cast<size_t>(count);
      return sendmsg(write_fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    if (!never_blocks_) {
      // A description that others share must stay as it is: ask first, and write little.
      pollfd fd{write_fd_, POLLOUT, 0};
      if (poll(&fd, 1, 0) <= 0) {
        errno = EAGAIN;
        return -1;
      }
      count = 1;
      parts->iov_len = std::min(parts->iov_len, kPipeBytes);
    }
    return without_signal([&] { return ::writev(write_fd_, parts, count); });
  }

  // Writing to a pipe whose reader has gone raises SIGPIPE, which would end a program that does not
  // ignore it.
  template <class F>
  ssize_t without_signal(F write) {
    if (signal_is_harmless_) return write();
    sigset_t pipe_signal, old, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &old);
    sigpending(&pending);
    const ssize_t n = write();
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

  const int read_fd_;
  int write_fd_;
  const int wake_fd_;
  const LineTransportOptions options_;
  bool is_socket_ = false, never_blocks_ = false;
  const bool signal_is_harmless_;
  std::atomic<bool> closed_ = false;

  // The reader's alone.
  std::string buffer_;  // read into as a whole; from start_ to filled_ there are bytes
  size_t start_ = 0, searched_ = 0, filled_ = 0;
  bool skipping_ = false, ended_ = false;

  std::mutex mutex_;  // guards what follows; but out_ is the thread's that has set writing_
  std::condition_variable written_;
  std::string pending_, out_;     // what came meanwhile; what is being sent, or waits for the peer
  size_t gone_ = 0, unsent_ = 0;  // bytes of out_
  bool writing_ = false, stalled_ = false, failed_ = false;
  std::string why_;    // it was cut off
  bool told_ = false;  // to the reader
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
  if (struct sigaction now{}; sigaction(SIGPIPE, nullptr, &now) == 0 && now.sa_handler == SIG_DFL) {
    now.sa_handler = no_signal;
    now.sa_flags = SA_RESTART;
    sigaction(SIGPIPE, &now, nullptr);
  }
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
