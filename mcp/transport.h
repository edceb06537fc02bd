// A Transport carries whole JSON-RPC messages for one peer and knows no MCP method.
// read() is called by one thread at a time; write() by any number of threads at once, each message
// staying whole; close() from any thread, any number of times: it ends a read() in progress and
// lets later writes fail.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "mcp/result.h"

namespace gpumcp::mcp {

// Code of the error of a request whose peer ended, where the next message starts that peer again.
inline constexpr int kPeerRestarts = 598;

class Transport {
 public:
  virtual ~Transport() = default;
  // One message's text; nullopt: the peer closed, or close() was called. Error invalid_request: a
  // message that was too long has been skipped, and reading may go on. Any other error ends the
  // transport.
  virtual Result<std::optional<std::string>> read() = 0;
  // Queues or sends one message, without waiting for a peer that does not read. Error closed: the
  // peer is gone, or was cut off because too much waits for it.
  virtual Result<void> write(std::string_view message) = 0;
  virtual void close() noexcept = 0;
  // For a thread that will call read() next: may go out with what is written until then.
  virtual Result<void> write_soon(std::string_view message) { return write(message); }
  // The reading thread's: the next read() will not wait.
  virtual bool has_message() const { return false; }
  // When nobody reads any more: waits until what was written has gone out, at most so long.
  virtual void flush(std::chrono::milliseconds /*limit*/) {}

  // What some transports do beyond that.
  // True: requests repeat part of what they say in HTTP headers.
  virtual bool carries_headers() const { return false; }
  // `renewed` runs each time the peer has started anew behind the same transport (a process that
  // was started again, an HTTP session that was lost) and has been initialized again: what it was
  // told before is forgotten. On a thread of the transport's; must not block. Set before the first
  // write.
  virtual void on_renewed(std::function<void()> /*renewed*/) {}
};

// Two ends in memory: what one writes the other reads. For tests, and for a client in the server's
// process.
std::pair<std::unique_ptr<Transport>, std::unique_ptr<Transport>> make_memory_transports();

}  // namespace gpumcp::mcp
