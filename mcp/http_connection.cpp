#include "mcp/http_connection.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace gpumcp::mcp {

int poll_ms(std::chrono::steady_clock::time_point deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now())
          .count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1 << 30));
}

void drain_wake(int fd) {
  uint64_t count;
  [[maybe_unused]] auto n = ::read(fd, &count, sizeof count);
}

HttpConnection::HttpConnection(int fd, const HttpLimits& limits, const HttpTimeouts& timeouts,
                               Shared& shared)
    : fd_(fd),
      wake_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      limits_(limits),
      timeouts_(timeouts),
      shared_(shared) {
  fcntl(fd_, F_SETFD, FD_CLOEXEC);
  fcntl(fd_, F_SETFL, fcntl(fd_, F_GETFL) | O_NONBLOCK);
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

HttpConnection::~HttpConnection() {
  release();
  ::close(fd_);
  if (wake_fd_ >= 0) ::close(wake_fd_);
}

bool HttpConnection::hold(size_t bytes) {
  held_ += bytes;
  if ((shared_.bodies += bytes) <= limits_.bodies_bytes) return true;
  release();
  return false;
}

bool HttpConnection::waits(size_t before, size_t bytes) {
  const size_t all = shared_.unread += bytes - before;  // wraps around, if there are fewer
  return all <= limits_.unread_bytes || all <= bytes || bytes <= before;
}

void HttpConnection::release() { shared_.bodies -= std::exchange(held_, 0); }

void HttpConnection::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(wake_fd_, &one, sizeof one);
}

HttpConnection::Got HttpConnection::receive(Clock::time_point deadline) {
  constexpr size_t kRead = 16 << 10;
  char buffer[kRead];
  while (!shared_.stopping) {
    // The bytes are often there already, so ask for them before waiting.
    const ssize_t n = ::recv(fd_, buffer, kRead, 0);
    if (n > 0) {
      input_.append(buffer, static_cast<size_t>(n));
      return Got::bytes;
    }
    if (n == 0) return Got::end;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return Got::end;
    pollfd fds[2] = {{fd_, POLLIN, 0}, {wake_fd_, POLLIN, 0}};
    const int ready = poll(fds, 2, poll_ms(deadline));
    if (ready == 0) return Got::timeout;
    if (ready > 0 && fds[1].revents) drain_wake(wake_fd_);
  }
  return Got::end;
}

int HttpConnection::read_head(HttpHead& head) {
  release();
  // RFC 9112 2.2 ignores an empty line before a request; a peer that sends nothing else holds a
  // connection without ever being late.
  constexpr int kMaxEmptyLines = 8;
  size_t searched = 0;
  int empty_lines = 0;
  auto deadline = Clock::now() + (input_.empty() ? timeouts_.idle : timeouts_.head);
  while (true) {
    for (; input_.starts_with("\r\n"); input_.erase(0, 2), searched = 0) {
      if (++empty_lines > kMaxEmptyLines) return 400;
    }
    if (const size_t end = find_head_end(input_, searched); end != input_.npos) {
      const int status = parse_head(std::string_view(input_).substr(0, end), limits_, head);
      input_.erase(0, end);
      return status;
    }
    if (input_.size() > limits_.head_bytes) return 431;
    searched = input_.size();
    const bool fresh = input_.empty();
    switch (receive(deadline)) {
      case Got::end:
        return -1;
      case Got::timeout:
        return fresh ? -1 : 408;
      case Got::bytes:
        break;
    }
    if (fresh) deadline = Clock::now() + timeouts_.head;
  }
}

int HttpConnection::read_body(const HttpHead& head, std::string& body) {
  body.clear();
  if (!head.has_body()) return 0;
  if (head.expects_continue && input_.empty() && !write("HTTP/1.1 100 Continue\r\n\r\n")) return -1;
  const auto deadline = Clock::now() + timeouts_.body;
  auto more = [&] {
    switch (receive(deadline)) {
      case Got::end:
        return -1;
      case Got::timeout:
        return 408;
      default:
        return 0;
    }
  };
  if (!head.chunked) {
    if (input_.size() == head.content_length) {  // the usual case: all of it came with the head
      body.swap(input_);
      return hold(body.size()) ? 0 : 503;
    }
    while (true) {
      const size_t n = std::min<uint64_t>(head.content_length - body.size(), input_.size());
      body.append(input_, 0, n);
      input_.erase(0, n);
      if (!hold(n)) return 503;
      if (body.size() == head.content_length) return 0;
      if (int status = more()) return status;
    }
  }
  ChunkedDecoder decoder(limits_.body_bytes);
  while (true) {
    const size_t before = body.size();
    std::string_view in = input_;
    const auto state = decoder.feed(in, body);
    input_.erase(0, input_.size() - in.size());
    if (!hold(body.size() - before)) return 503;
    if (state == ChunkedDecoder::State::done) return 0;
    if (state == ChunkedDecoder::State::malformed) return 400;
    if (state == ChunkedDecoder::State::too_large) return 413;
    if (int status = more()) return status;
  }
}

bool HttpConnection::write(std::string_view head, std::string_view body) {
  while (!head.empty() || !body.empty()) {
    iovec parts[2] = {{const_cast<char*>(head.data()), head.size()},
                      {const_cast<char*>(body.data()), body.size()}};
    msghdr message = {};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    const ssize_t n = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (n < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
      pollfd fds[1] = {{fd_, POLLOUT, 0}};
      if (poll(fds, 1, static_cast<int>(timeouts_.write.count())) <= 0) return false;
      continue;
    }
    const size_t from_head = std::min(head.size(), static_cast<size_t>(n));
    head.remove_prefix(from_head);
    body.remove_prefix(static_cast<size_t>(n) - from_head);
  }
  return true;
}

void HttpConnection::linger() {
  constexpr size_t kMaxDiscarded = 16u << 20;
  ::shutdown(fd_, SHUT_WR);
  const auto deadline = Clock::now() + std::chrono::seconds(2);
  for (size_t discarded = 0; discarded < kMaxDiscarded;) {
    input_.clear();
    if (receive(deadline) != Got::bytes) break;
    discarded += input_.size();
  }
}

}  // namespace gpumcp::mcp
