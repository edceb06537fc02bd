#include "mcp/http_stream.h"

#include <fmt/format.h>

namespace gpumcp::mcp {

HttpStream::HttpStream(uint64_t number, std::string_view version, std::shared_ptr<KeptBytes> kept)
    : number_(number),
      primes_(version >= "2025-11-25"),
      keeps_(version > "2024-11-05"),
      kept_bytes_(std::move(kept)) {}

HttpStream::~HttpStream() { kept_bytes_->total -= bytes_; }

std::string HttpStream::id(uint64_t n) const { return fmt::format("{}-{}", number_, n); }

// The priming event: a client that loses the stream before the first message can come back.
std::string HttpStream::prologue() const {
  return primes_ ? fmt::format("id: {}\ndata: \n\n", id(last_)) : std::string();
}

std::string HttpStream::keep(const std::string& message) {
  if (!keeps_) return sse_event(message);
  std::string event = sse_event(message, id(++last_));
  bytes_ += event.size();
  kept_bytes_->total += event.size();
  kept_.push_back({last_, event});
  while (!kept_.empty() &&
         (bytes_ > KeptBytes::kMaxStream || kept_bytes_->total > KeptBytes::kMaxTotal)) {
    const size_t n = kept_.front().event.size();
    bytes_ -= n;
    kept_bytes_->total -= n;
    kept_.pop_front();
  }
  return event;
}

void HttpStream::notify(std::string message) {
  std::unique_lock lock(mutex_);
  if (over_) return;
  const bool question = message.starts_with(R"({"jsonrpc":"2.0","id":)");
  if (exchange_ && !exchange_->takes_events()) {
    lock.unlock();
    if (question && fallback_) fallback_->notify(std::move(message));
    return;
  }
  const std::string event = keep(message);
  if (exchange_) exchange_->events(event, question);
}

void HttpStream::respond(std::string message, std::optional<ErrorCode> code) {
  std::scoped_lock lock(mutex_);
  if (std::exchange(over_, true)) return;
  if (exchange_ && !exchange_->is_stream()) {
    plain_ = true;
    return exchange_->respond(std::move(message), code);
  }
  const std::string event = keep(message);
  if (exchange_) exchange_->end(event);
}

void HttpStream::settled(bool modern) {
  std::scoped_lock lock(mutex_);
  if (exchange_) exchange_->settled(modern);
}

void HttpStream::dropped() {
  std::scoped_lock lock(mutex_);
  over_ = plain_ = true;
  if (exchange_) exchange_->dropped();
}

void HttpStream::release(std::chrono::milliseconds retry) {
  std::scoped_lock lock(mutex_);
  if (over_ || !exchange_ || !exchange_->takes_events()) return;
  exchange_->end(fmt::format("retry: {}\n\n", retry.count()));
  exchange_.reset();
}

bool HttpStream::attach(std::shared_ptr<HttpExchange> exchange, Replay replay, uint64_t after) {
  std::scoped_lock lock(mutex_);
  if (exchange_) {
    if (replay == Replay::no) return false;
    exchange_->end();  // its client has come back before we saw it leave
  }
  exchange_ = std::move(exchange);
  exchange_->set_prologue(prologue());
  if (keeps_) exchange_->set_resumable();
  if (replay == Replay::no) return true;
  exchange_->set_prologue({});
  exchange_->open_stream();
  for (const Kept& one : kept_)
    if (one.number > after) exchange_->events(one.event, true);
  if (over_) exchange_->end();
  return true;
}

void HttpStream::detach(const HttpExchange* exchange) {
  std::scoped_lock lock(mutex_);
  if (exchange_.get() == exchange) exchange_.reset();
}

void HttpStream::close() {
  std::scoped_lock lock(mutex_);
  over_ = true;
  if (auto exchange = std::exchange(exchange_, nullptr)) {
    if (exchange->is_stream())
      exchange->end();
    else
      exchange->dropped();
  }
}

bool HttpStream::over() const {
  std::scoped_lock lock(mutex_);
  return over_;
}

bool HttpStream::delivered() const {
  std::scoped_lock lock(mutex_);
  return over_ && plain_;
}

}  // namespace gpumcp::mcp
