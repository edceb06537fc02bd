// Context: what a handler may ask of the call it serves. Passed by reference as a parameter of type
// Context&, valid until the handler returns; it does not show in the tool's schema. Progress, log
// and cancellation are thread-safe, so a handler may use them from threads of its own; ask() and
// what rests on it are the handler's own thread's.
//
// Asking the client (elicit, create_message, list_roots) looks like a call and works in both eras:
//   auto answer = context.elicit("name", {"Who are you?", schema});
// Up to 2025-11-25 the question goes out and the handler waits. In 2026-07-28 nothing waits: the
// first ask() ends the handler by an exception, the client is told what is wanted, and its retry
// runs the handler again from the start, where the same ask() now returns the answer. So what comes
// before the last ask() may run several times: ask first, act then. What must not be lost or made
// anew between the rounds goes into state(). Answers and state travel through the client, sealed.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>

#include "mcp/client_features.h"
#include "mcp/protocol.h"

namespace gpumcp::mcp {

// Who asks, for display and logs, never for trust: the client names itself.
struct CallInfo {
  std::string tool;
  std::string protocol_version;
  Implementation client = {};
  Json _meta = Json::object();  // the request's, unknown keys included
};

// A call that goes on as a task (see Context::start_task).
struct TaskOptions {
  // How long its outcome can be fetched after its end; zero: ServerOptions::task_ttl.
  std::chrono::milliseconds ttl = std::chrono::milliseconds(0);
  std::chrono::milliseconds poll_interval = std::chrono::seconds(1);  // asked of the client
  std::string message = {};  // what it does, for the user; progress() with a message replaces it
  // It cannot be done within the request: a client that knows no tasks gets an error instead.
  bool required = false;
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
  // notifications/message, if the client asked for that level. `data`: any JSON, no secrets.
  virtual void log(LogLevel level, const Json& data, std::string_view logger = {}) = 0;
  // Adds a key to the result's `_meta`.
  virtual void set_meta(std::string_view key, Json value) = 0;
  virtual const CallInfo& call() const = 0;

  // What the client declared: in this request (2026-07-28) or when it connected.
  virtual const ClientCapabilities& client_capabilities() const = 0;
  // Asks all of these at once; the keys name the questions within the call. Throws
  // MissingCapability if the client declared none for one of them, ToolError if it refuses.
  virtual std::map<std::string, InputResponse> ask(
      std::map<std::string, InputRequest> requests) = 0;
  // Kept from round to round (2026-07-28), null at first; at most 32 KB as text.
  virtual Json& state() = 0;
  // Lets the client's event stream go for now, if it can come back for the result (2025-11-25 over
  // HTTP; elsewhere nothing happens): for long calls behind impatient proxies.
  virtual void release_stream(std::chrono::milliseconds retry) = 0;
  // Makes the rest of this tool call a task, if the client knows tasks (2026-07-28 with the
  // extension io.modelcontextprotocol/tasks): the request is answered now, the client may leave,
  // and it fetches the outcome later. True if it is one now; otherwise the call goes on as it was,
  // or, if `required`, ends by MissingCapability. In a task ask() waits for the answers.
  virtual bool start_task(TaskOptions options) = 0;

  ElicitResult elicit(const std::string& key, ElicitRequest request) {
    return std::get<ElicitResult>(ask({{key, std::move(request)}}).at(key));
  }
  CreateMessageResult create_message(const std::string& key, CreateMessageRequest request) {
    return std::get<CreateMessageResult>(ask({{key, std::move(request)}}).at(key));
  }
  std::vector<Root> list_roots(const std::string& key = "roots") {
    return std::get<ListRootsResult>(ask({{key, ListRootsRequest{}}}).at(key)).roots;
  }
};

// Thrown by a handler to answer isError with just this text. Other exceptions do the same with
// their what().
class ToolError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Thrown to answer a JSON-RPC error instead of a result: for what the model cannot mend. A tool's
// own failures are ToolErrors, which the model sees.
class ProtocolError : public std::runtime_error {
 public:
  explicit ProtocolError(Error error)
      : std::runtime_error(error.message), error_(std::move(error)) {}
  const Error& error() const { return error_; }

 private:
  Error error_;
};

// Thrown to say that the client lacks a capability that the call cannot do without. `required` is a
// ClientCapabilities object, {"sampling": {}}. 2026-07-28 has an error for it; older clients get
// isError.
class MissingCapability : public ToolError {
 public:
  explicit MissingCapability(Json required)
      : ToolError("this needs a client capability that was not declared: " + to_text(required)),
        required_(std::move(required)) {}
  const Json& required() const { return required_; }

 private:
  Json required_;
};

// What ends a handler in ask() (2026-07-28), and on cancellation. No std::exception, so that
// handlers which catch those do not hold it up; let it pass.
struct HandlerLeft {};

}  // namespace gpumcp::mcp
