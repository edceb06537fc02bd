// One accepted HTTP connection: reads requests with deadlines and writes whole responses. Owned and
// used by the connection's thread; wake() alone may be called from any thread and ends a wait.
// Closes the socket at the end.
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "mcp/http_wire.h"

namespace gpumcp::mcp {

struct HttpTimeouts {
  std::chrono::milliseconds idle = std::chrono::seconds(75);  // between requests
  std::chrono::milliseconds head =
      std::chrono::seconds(10);  // from a head's first byte to its last
  std::chrono::milliseconds body = std::chrono::seconds(60);   // for a whole body
  std::chrono::milliseconds write = std::chrono::seconds(30);  // without the peer taking anything
};

class HttpConnection {
 public:
  // What all connections of a server share.
  struct Shared {
    std::atomic<bool> stopping = false;  // true ends all waits for requests, after wake()
    std::atomic<size_t> bodies = 0;      // bytes of bodies that came and are not answered yet
    std::atomic<size_t> unread = 0;      // bytes that clients did not take yet
  };
  // Takes `fd`.
  HttpConnection(int fd, const HttpLimits& limits, const HttpTimeouts& timeouts, Shared& shared);
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  // 0: one was read; -1: the peer left, was idle too long, or the server stops; else the status
  // that refuses it, after which the connection cannot be used for another request. read_head()
  // says that the request before has been answered.
  int read_head(HttpHead& head);
  int read_body(const HttpHead& head, std::string& body);
  // Bytes of a further request have arrived already.
  bool has_input() const { return !input_.empty(); }

  bool write(std::string_view head, std::string_view body = {});
  // Says goodbye to a peer that may still be sending, so that it sees the response and no reset.
  void linger();
  void wake();

  // Bytes wait, `before` did until now. False: all connections together hold too many, and not by
  // this one alone. From any thread.
  bool waits(size_t before, size_t bytes);

  int fd() const { return fd_; }
  int wake_fd() const { return wake_fd_; }
  const HttpTimeouts& timeouts() const { return timeouts_; }
  bool stopping() const { return shared_.stopping; }

 private:
  using Clock = std::chrono::steady_clock;
  enum class Got { bytes, end, timeout };
  Got receive(Clock::time_point deadline);  // appends to input_
  bool hold(size_t bytes);                  // false: all bodies together would be too large
  void release();

  const int fd_, wake_fd_;
  const HttpLimits limits_;
  const HttpTimeouts timeouts_;
  Shared& shared_;
  std::string input_;
  size_t held_ = 0;  // of shared_.bodies
};

// Milliseconds until `deadline` for poll(), at least 0.
int poll_ms(std::chrono::steady_clock::time_point deadline);
// Empties a wake-up descriptor.
void drain_wake(int fd);

}  // namespace gpumcp::mcp
