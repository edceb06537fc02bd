#include "mcp/http_exchange.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace gpumcp::mcp {
namespace {

// Notifications for a client that does not read are dropped from here on; the response never is.
constexpr size_t kMaxPendingNotifications = 1 << 20;
// A client of a long stream that lets this much pile up is cut off.
constexpr size_t kMaxPending = 32u << 20;

}  // namespace

HttpExchange::HttpExchange(HttpConnection& connection, ExchangeOptions options)
    : connection_(connection),
      options_(options),
      wake_when_done_(!options.keep_alive || connection.has_input()) {}

// mcp-spec 1.2. Before the era is settled an error means that the body cannot be accepted as a
// request.
int HttpExchange::status_of(std::optional<ErrorCode> code) const {
  if (!code) return 200;
  if (!modern_) return 400;
  if (!*modern_) return 200;
  switch (*code) {
    case ErrorCode::method_not_found:
      return 404;
    case ErrorCode::invalid_request:
    case ErrorCode::header_mismatch:
    case ErrorCode::missing_client_capability:
    case ErrorCode::unsupported_protocol_version:
      return 400;
    default:
      return 200;
  }
}

void HttpExchange::wake() { connection_.wake(); }

void HttpExchange::send(std::string_view head, std::string_view body) {
  if (!attached_ || broken_) return;
  last_write_ = Clock::now();
  if (!pending_.empty()) {
    (pending_ += head) += body;
    return count();
  }
  iovec parts[2] = {{const_cast<char*>(head.data()), head.size()},
                    {const_cast<char*>(body.data()), body.size()}};
  msghdr message = {};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  ssize_t n;
  do n = ::sendmsg(connection_.fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
    broken_ = true;
    return wake();
  }
  const size_t sent = static_cast<size_t>(std::max<ssize_t>(n, 0));
  if (sent == head.size() + body.size()) return;
  pending_ = head.substr(std::min(sent, head.size()));
  pending_ += body.substr(sent - std::min(sent, head.size()));
  count();
  wake();
}

// What waits here is part of what waits everywhere.
void HttpExchange::count() {
  const size_t before = std::exchange(counted_, pending_.size());
  if (connection_.waits(before, counted_)) return;
  broken_ = true;
  wake();
}

void HttpExchange::flush() {
  while (!pending_.empty() && !broken_) {
    const ssize_t n = ::send(connection_.fd(), pending_.data() + flushed_,
                             pending_.size() - flushed_, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (n < 0) {
      broken_ = true;
      break;
    }
    flushed_ += static_cast<size_t>(n);
    last_write_ = Clock::now();
    if (flushed_ == pending_.size()) pending_.clear(), flushed_ = 0;
  }
  // What has gone is cut off when it is half of all: a slow reader must not make us move megabytes
  // for each small piece that it takes.
  if (flushed_ > pending_.size() / 2) pending_.erase(0, std::exchange(flushed_, 0));
  if (counted_ != pending_.size()) count();
}

std::string sse_event(std::string_view message, std::string_view id, std::string_view type) {
  std::string out;
  out.reserve(message.size() + id.size() + type.size() + 32);
  if (!id.empty()) ((out += "id: ") += id) += '\n';
  if (!type.empty()) ((out += "event: ") += type) += '\n';
  const size_t data = out.size();
  (out += "data: ") += message;
  // A JSON text has line ends only between tokens; one event is one line.
  std::replace_if(
      out.begin() + static_cast<std::ptrdiff_t>(data), out.end(),
      [](char c) { return c == '\n' || c == '\r'; }, ' ');
  out += "\n\n";
  return out;
}

std::string HttpExchange::stream_head(int status) {
  streaming_ = true;
  HttpHeaders headers = {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}};
  headers.insert(headers.end(), headers_.begin(), headers_.end());
  if (options_.chunked) headers.emplace_back("Transfer-Encoding", "chunked");
  std::string out =
      response_head(status, "text/event-stream", std::nullopt, options_.keep_alive, headers);
  if (!prologue_.empty()) out += options_.chunked ? chunk(prologue_) : prologue_;
  return out;
}

void HttpExchange::send_stream(std::string_view events, bool last, int status) {
  std::string out = streaming_ ? std::string() : stream_head(status);
  if (!events.empty()) out += options_.chunked ? chunk(events) : std::string(events);
  if (last && options_.chunked) out += kLastChunk;
  send(out);
}

void HttpExchange::add_headers(const HttpHeaders& headers) {
  std::scoped_lock lock(mutex_);
  headers_.insert(headers_.end(), headers.begin(), headers.end());
}

void HttpExchange::set_prologue(std::string events) {
  std::scoped_lock lock(mutex_);
  prologue_ = std::move(events);
}

void HttpExchange::set_resumable() {
  std::scoped_lock lock(mutex_);
  resumable_ = true;
}

void HttpExchange::open_stream() {
  std::scoped_lock lock(mutex_);
  if (!done_ && !streaming_) send(stream_head(200));
}

void HttpExchange::events(std::string_view text, bool must) {
  std::scoped_lock lock(mutex_);
  if (done_ || !options_.accepts.events) return;
  if (!must && pending_.size() > kMaxPendingNotifications) return;
  if (pending_.size() > kMaxPending) {
    broken_ = true;
    return wake();
  }
  send_stream(text, false);
}

void HttpExchange::end(std::string_view events) {
  std::scoped_lock lock(mutex_);
  if (std::exchange(done_, true)) return;
  send_stream(events, true);
  if (attached_) wake();
}

bool HttpExchange::is_stream() const {
  std::scoped_lock lock(mutex_);
  return streaming_ || !options_.accepts.json;
}

void HttpExchange::refuse(int status, std::string_view body, HttpHeaders headers) {
  std::scoped_lock lock(mutex_);
  if (std::exchange(done_, true)) return;
  headers.insert(headers.end(), headers_.begin(), headers_.end());
  send(response_head(status, "application/json", body.size(), options_.keep_alive, headers), body);
  if (wake_when_done_ && attached_) wake();
}

void HttpExchange::notify(std::string message) { events(sse_event(message), false); }

void HttpExchange::respond(std::string message, std::optional<ErrorCode> code) {
  std::scoped_lock lock(mutex_);
  if (done_) return;
  done_ = true;
  if (streaming_ || !options_.accepts.json) {
    send_stream(sse_event(message), true, status_of(code));
  } else {
    send(response_head(status_of(code), "application/json", message.size(), options_.keep_alive,
                       headers_),
         message);
  }
  if (wake_when_done_ && attached_) wake();
}

void HttpExchange::dropped() {
  std::scoped_lock lock(mutex_);
  done_ = broken_ = true;
  if (attached_) wake();
}

void HttpExchange::settled(bool modern) {
  std::scoped_lock lock(mutex_);
  modern_ = modern;
}

void HttpExchange::tick(Clock::time_point now) {
  if (done_ || !options_.accepts.events || now < next_tick(now)) return;
  if (streaming_) return send(options_.chunked ? chunk(": keep-alive\n\n") : ": keep-alive\n\n");
  send(stream_head(200));
}

HttpExchange::Clock::time_point HttpExchange::next_tick(Clock::time_point now) const {
  if (!pending_.empty()) return last_write_ + connection_.timeouts().write;
  if (done_ || !options_.accepts.events) return now + std::chrono::hours(1);
  return streaming_ ? last_write_ + options_.comment_every : began_ + options_.stream_after;
}

bool HttpExchange::wait(const std::function<void()>& cancel) {
  bool peer_gone = false, input_waits = connection_.has_input(), cancelled = false;
  std::optional<Clock::time_point> stop_at;
  std::unique_lock lock(mutex_);
  const auto detach = [&] {
    pending_ = {};
    flushed_ = 0;
    count();
    attached_ = false;
  };
  while (true) {
    flush();
    if (broken_) break;
    if (done_ && pending_.empty()) {
      detach();
      return options_.keep_alive && !peer_gone;
    }
    // In 2026-07-28 a client that closes has cancelled; before, its call runs on (mcp-spec, pitfall
    // 5).
    if (peer_gone && (options_.held || modern_.value_or(true) || (resumable_ && streaming_))) break;
    const auto now = Clock::now();
    if (connection_.stopping() && !stop_at) stop_at = now + options_.drain;
    if (stop_at && now >= *stop_at) break;
    if (!pending_.empty() && now >= next_tick(now)) break;  // it takes nothing any more
    tick(now);
    auto deadline = next_tick(now);
    if (stop_at) deadline = std::min(deadline, *stop_at);
    const short writes = pending_.empty() ? 0 : POLLOUT;
    const short reads = static_cast<short>(POLLRDHUP | (input_waits || done_ ? 0 : POLLIN));
    pollfd fds[2] = {{connection_.fd(), static_cast<short>(writes | reads), 0},
                     {connection_.wake_fd(), POLLIN, 0}};
    if (peer_gone) fds[0].events = writes;
    if (peer_gone && !writes) fds[0].fd = -1;
    lock.unlock();
    const int ready = poll(fds, 2, poll_ms(deadline));
    if (ready > 0 && fds[1].revents) drain_wake(connection_.wake_fd());
    lock.lock();
    if (ready <= 0) continue;
    if (fds[0].revents & (POLLHUP | POLLERR | POLLRDHUP)) {
      peer_gone = wake_when_done_ = true;
      if (fds[0].revents & POLLERR) broken_ = true;
    } else if (fds[0].revents & POLLIN) {
      input_waits = wake_when_done_ = true;
    }
  }
  detach();
  cancelled = modern_.value_or(true) || stop_at.has_value();
  lock.unlock();
  if (cancelled) cancel();
  return false;
}

}  // namespace gpumcp::mcp
