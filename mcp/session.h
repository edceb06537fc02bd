// Session: one peer's side of the protocol. Takes messages' texts, checks them, finds the method,
// and answers through the ReplySink that came with each request. Made by Server; kept alive by the
// calls in flight.
//
//   text ─▶ parse_message ─▶ era (per request) ─▶ method table ─▶ answer at once, or a Call on the
//   pool
//                                                                   └▶ sink: notifications, then
//                                                                   one response
//
// Era (mcp-spec 2026-07-28 basic/versioning): a request whose params._meta names a protocol version
// is served statelessly; `initialize` starts a legacy session; anything else belongs to that
// session. Nothing of a modern request is remembered. Thread-safe; receive() never blocks on a
// tool.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "mcp/message.h"
#include "mcp/protocol.h"
#include "mcp/server.h"

namespace gpumcp::mcp {

// Where one request's messages go: any number of notifications, then exactly one response, unless
// the request was cancelled: then none. Called from any thread, one call at a time; but dropped()
// may come while notify() runs.
class ReplySink {
 public:
  virtual ~ReplySink() = default;
  virtual void notify(std::string message) = 0;
  // `code` is the error's, nullopt for results; HTTP derives its status from it.
  virtual void respond(std::string message, std::optional<ErrorCode> code) = 0;
  // The request is a sound one of this era: errors from here on are its outcome. Not called for
  // broken ones.
  virtual void settled(bool modern) { (void)modern; }
  // The request was cancelled: nothing more will come.
  virtual void dropped() {}
};

// What an HTTP request's headers claim; checked against the body (spec: basic/transports,
// "headers").
struct HttpClaims {
  std::optional<std::string> protocol_version, method, name;
};

class Call;

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(std::shared_ptr<Server::Impl> server);
  ~Session();

  // Whether a message got (or will get) a response; false for notifications and posted responses.
  enum class Received { request, notification, broken };
  Received receive(std::string text, std::shared_ptr<ReplySink> sink,
                   const HttpClaims* http = nullptr);

  // The peer left, or gave up: stops all calls; nothing more is sent for them.
  void cancel_all();
  // True when no call is in flight; waits up to `limit` for that.
  bool wait_idle(std::chrono::milliseconds limit);
  // The version that `initialize` agreed on, if it came.
  std::optional<std::string> legacy_version() const;

 private:
  friend class Call;
  struct Request;
  using Method = void (Session::*)(Request&);

  void receive_request(Message message, std::shared_ptr<ReplySink> sink, const HttpClaims* http);
  void receive_notification(const Message& message);
  Result<void> read_params(Request& request);
  Result<void> settle_era(Request& request, const HttpClaims* http);

  void initialize(Request& request);
  void ping(Request& request);
  void set_level(Request& request);
  void discover(Request& request);
  void list_tools(Request& request);
  void call_tool(Request& request);
  void list_resources(Request& request);
  void list_resource_templates(Request& request);
  void read_resource(Request& request);

  void respond(Request& request, std::string_view result);
  void respond_cacheable(Request& request, std::string_view result);
  void fail_request(Request& request, const Error& error);
  std::shared_ptr<Call> start_call(Request& request, std::string name);
  // A call's id leaves the table, then its answer is written, then the call has ended.
  void release_id(const RequestId& id);
  void end_call();
  void dispatch(Message message, std::shared_ptr<ReplySink> sink, const HttpClaims* http);

  static const std::map<std::string, std::pair<Method, int>, std::less<>>& methods();

  const std::shared_ptr<Server::Impl> server_;  // shared: a forwarded call may outlive the Server
  mutable std::mutex mutex_;                    // guards what follows
  std::condition_variable idle_;
  std::map<RequestId, std::shared_ptr<Call>> calls_;
  size_t answering_ = 0;  // calls that have left calls_, whose answer is being written
  std::optional<std::string> legacy_version_;
  Implementation legacy_client_;
  LogLevel legacy_log_level_ = LogLevel::info;
};

}  // namespace gpumcp::mcp
