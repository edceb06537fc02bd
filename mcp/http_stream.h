// HttpStream: one event stream of a session (up to 2025-11-25): the answer to a POST, or the one of
// GET. It outlives its connection:
//
//   call ──▶ HttpStream ──▶ HttpExchange (the connection that reads it, if there is one)
//                  └──────▶ the last events, for a client that comes back with Last-Event-ID
//
// Its events carry ids "STREAM-NUMBER", so a resumption names its stream. Thread-safe; kept by its
// session until its end was delivered or made room for others. Private to mcp.
#pragma once

#include <atomic>
#include <deque>
#include <mutex>
#include <string>

#include "mcp/http_exchange.h"

namespace gpumcp::mcp {

// What all streams of a server keep together, and the limits of that.
struct KeptBytes {
  static constexpr size_t kMaxStream = 1 << 20, kMaxTotal = 64u << 20;
  std::atomic<size_t> total = 0;
};

class HttpStream final : public ReplySink {
 public:
  // Up to 2025-06-18 clients choke on events without data: no priming for them. 2024-11-05 knows no
  // resumption: nothing is kept.
  HttpStream(uint64_t number, std::string_view version, std::shared_ptr<KeptBytes> kept);
  ~HttpStream() override;

  void notify(std::string message) override;
  void respond(std::string message, std::optional<ErrorCode> code) override;
  void settled(bool modern) override;
  void dropped() override;
  void release(std::chrono::milliseconds retry) override;

  // The connection that carries it from now on. False: it has one already. With a replay what
  // followed event `after` is sent again, and a connection that was there is ended.
  enum class Replay { no, yes };
  bool attach(std::shared_ptr<HttpExchange> exchange, Replay replay = Replay::no,
              uint64_t after = 0);
  void detach(const HttpExchange* exchange);
  // Ends the connection that reads it.
  void close();
  // Questions to the client go there when this stream's client takes plain JSON only.
  void set_fallback(std::shared_ptr<HttpStream> stream) { fallback_ = std::move(stream); }
  bool over() const;       // nothing more will come
  bool delivered() const;  // over, and its reader was there for all of it

 private:
  std::string keep(const std::string& message);  // the event
  std::string id(uint64_t n) const;
  std::string prologue() const;

  const uint64_t number_;
  const bool primes_, keeps_;
  const std::shared_ptr<KeptBytes> kept_bytes_;
  std::shared_ptr<HttpStream> fallback_;
  mutable std::mutex mutex_;  // guards what follows
  std::shared_ptr<HttpExchange> exchange_;
  struct Kept {
    uint64_t number;
    std::string event;
  };
  std::deque<Kept> kept_;
  size_t bytes_ = 0;
  uint64_t last_ = 0;
  bool over_ = false, plain_ = false;
};

}  // namespace gpumcp::mcp
