// HttpExchange: the answer to one POST. A ReplySink that decides late what the response is:
//
//   respond() first ──────────────▶ application/json with the status that the outcome has
//   notify() first, or 5 s passed ─▶ text/event-stream: notifications, ":" comments, then the
//   response
//
// Whoever answers (a pool thread, a forwarder) writes to the socket itself as far as the socket
// takes it; the rest, and all waiting, is the connection thread's, in wait(). Thread-safe; kept
// alive by the calls that hold it, and writes nothing after wait() has returned.
#pragma once

#include <functional>
#include <mutex>
#include <string>

#include "mcp/http_connection.h"
#include "mcp/http_guards.h"
#include "mcp/session.h"

namespace gpumcp::mcp {

struct ExchangeOptions {
  Accepts accepts;
  bool keep_alive = true;  // the connection, after the response
  bool chunked = true;     // false for HTTP/1.0
  std::chrono::milliseconds stream_after = std::chrono::seconds(5);
  std::chrono::milliseconds comment_every = std::chrono::seconds(15);
  std::chrono::milliseconds drain =
      std::chrono::milliseconds(800);  // for an answer, once the server stops
  bool held = false;                   // a stream that only the server or a disconnect ends
};

class HttpExchange final : public ReplySink {
 public:
  HttpExchange(HttpConnection& connection, ExchangeOptions options);

  void notify(std::string message) override;
  void respond(std::string message, std::optional<ErrorCode> code) override;
  void dropped() override;
  void settled(bool modern) override;

  // What the streams of sessions do with it (mcp/http_stream.h).
  // More headers of the response; what an event stream begins with. Before anything was sent.
  void add_headers(const HttpHeaders& headers);
  void set_prologue(std::string events);
  // A peer that leaves an open event stream may come back for the rest: wait() lets it go.
  void set_resumable();
  void open_stream();
  // Whole events, as they stand in the stream. `must`: not dropped for a client that does not read.
  void events(std::string_view text, bool must);
  // Ends the event stream, after `events`.
  void end(std::string_view events = {});
  bool takes_events() const { return options_.accepts.events; }
  // The response will be, or is, an event stream.
  bool is_stream() const;
  // Instead of a response: a refusal with a status of its own.
  void refuse(int status, std::string_view body, HttpHeaders headers = {});

  // The connection's thread: until the response is out or cannot be delivered. `cancel` is called
  // when a modern client has left (which cancels its request), or the server stops. True: the
  // connection is fit for more.
  bool wait(const std::function<void()>& cancel);

 private:
  using Clock = std::chrono::steady_clock;
  int status_of(std::optional<ErrorCode> code) const;
  void send(std::string_view head, std::string_view body = {});
  void send_stream(std::string_view events, bool last, int status = 200);
  std::string stream_head(int status);
  void flush();
  void count();
  void tick(Clock::time_point now);
  Clock::time_point next_tick(Clock::time_point now) const;
  void wake();

  HttpConnection& connection_;  // only while attached_
  const ExchangeOptions options_;
  const Clock::time_point began_ = Clock::now();
  mutable std::mutex mutex_;  // guards what follows
  bool attached_ = true, streaming_ = false, done_ = false, broken_ = false,
       wake_when_done_ = false, resumable_ = false;
  HttpHeaders headers_;
  std::string prologue_;
  std::optional<bool> modern_;  // once settled
  std::string pending_;         // what the socket did not take yet
  size_t flushed_ = 0;          // of pending_, already sent
  size_t counted_ = 0;          // of pending_, among what waits on all connections
  Clock::time_point last_write_ = began_;
};

// A message as one event: one line of data. Empty id, type: none.
std::string sse_event(std::string_view message, std::string_view id = {},
                      std::string_view type = {});

}  // namespace gpumcp::mcp
