// Context: what a tool's handler may ask of the call it serves. Passed by reference as a parameter
// of type Context&, valid until the handler returns; it does not show in the tool's schema. All
// methods are thread-safe, so a handler may report progress from threads of its own.
#pragma once

#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>

#include "mcp/protocol.h"

namespace gpumcp::mcp {

// Who asks, for display and logs, never for trust: the client names itself.
struct CallInfo {
  std::string tool;
  std::string protocol_version;
  Implementation client = {};
  Json _meta = Json::object();  // the request's, unknown keys included
};

class Context {
 public:
  virtual ~Context() = default;
  // Sends notifications/progress if the client gave a token. `progress` must grow from call to
  // call.
  virtual void progress(double progress, std::optional<double> total = {},
                        std::string_view message = {}) = 0;
  // Stops when the client cancels, leaves (2026-07-28), or the server ends.
  virtual std::stop_token stop_token() const = 0;
  bool cancelled() const { return stop_token().stop_requested(); }
  // notifications/message, if the client asked for that level.
  virtual void log(LogLevel level, std::string_view message) = 0;
  // Adds a key to the result's `_meta`.
  virtual void set_meta(std::string_view key, Json value) = 0;
  virtual const CallInfo& call() const = 0;
};

// Thrown by a handler to answer isError with just this text. Other exceptions do the same with
// their what().
class ToolError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace gpumcp::mcp
