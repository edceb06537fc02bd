// A Transport carries whole JSON-RPC messages for one peer and knows no MCP method.
// read() is called by one thread at a time; write() by any number of threads at once, each message
// staying whole; close() from any thread, any number of times: it ends a read() in progress and
// lets later writes fail.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "mcp/result.h"

namespace gpumcp::mcp {

class Transport {
 public:
  virtual ~Transport() = default;
  // One message's text; nullopt: the peer closed, or close() was called. Error invalid_request: a
  // message that was too long has been skipped, and reading may go on. Any other error ends the
  // transport.
  virtual Result<std::optional<std::string>> read() = 0;
  // Queues or sends one message. Error closed: the peer is gone.
  virtual Result<void> write(std::string_view message) = 0;
  virtual void close() noexcept = 0;
};

// Two ends in memory: what one writes the other reads. For tests, and for a client in the server's
// process.
std::pair<std::unique_ptr<Transport>, std::unique_ptr<Transport>> make_memory_transports();

}  // namespace gpumcp::mcp
