// Session: one peer's side of the protocol. Takes messages' texts, checks them, finds the method,
// and answers through the ReplySink that came with each request. Made by Server; kept alive by the
// calls in flight.
//
//   text ─▶ parse_message ─▶ era (session_era.cpp) ─▶ method table ─▶ answer at once,
//                                                      or a Call on the pool, or a Listen
//                            sink: notifications, then one response
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
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include "mcp/message.h"
#include "mcp/protocol.h"
#include "mcp/server.h"
#include "mcp/stand_ins.h"

namespace gpumcp::mcp {

// Where one request's messages go: any number of notifications and (up to 2025-11-25) requests to
// the client, then exactly one response, unless the request was cancelled: then none. Called from
// any thread, one call at a time; but dropped() may come while notify() runs. Must not wait for a
// peer that does not read.
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
  // The response that follows is that of an `initialize` which opened a session of this version.
  virtual void opened(const std::string& version) { (void)version; }
  // The call allows to close its event stream now; the client comes back for the rest after
  // `retry`.
  virtual void release(std::chrono::milliseconds retry) { (void)retry; }
};

// What an HTTP request's headers claim; checked against the body (spec: basic/transports,
// "headers").
struct HttpClaims {
  std::optional<std::string> protocol_version, method, name;
  // Mcp-Param-*: by what follows that, in lower case; as they came, encoded.
  std::map<std::string, std::string, std::less<>> params = {};
};

// Who asks, and what of it a request says itself (2026-07-28) or its session knows. Shared by the
// requests that say the same.
struct Asker {
  std::string version;
  Implementation client = {};
  ClientCapabilities capabilities = {};
  std::optional<LogLevel> log_level = {};
};

class Call;
struct ParamHeader;
class Listen;
class Task;

class Session : public std::enable_shared_from_this<Session> {
 public:
  explicit Session(std::shared_ptr<Server::Impl> server);
  ~Session();

  // Whether a message got (or will get) a response; false for notifications and posted responses.
  enum class Received { request, notification, broken };
  // With a duty quick handlers run on this thread, within receive(); see stand_ins.h.
  Received receive(std::string text, std::shared_ptr<ReplySink> sink,
                   const HttpClaims* http = nullptr, StandIns::Duty* duty = nullptr);

  // The peer left, or gave up: stops all calls; nothing more is sent for them.
  void cancel_all();
  // True when no call is in flight; waits up to `limit` for that.
  bool wait_idle(std::chrono::milliseconds limit);
  // The version that `initialize` agreed on, if it came.
  std::optional<std::string> legacy_version() const;
  // Where the session's own messages go, outside any request (list_changed, resources/updated). A
  // stream has one place for all; over HTTP it is the GET stream. nullptr: nowhere.
  void attach(std::shared_ptr<ReplySink> unsolicited);
  // Whose requests these are, as far as the transport knows (the bearer token's digest); empty: not
  // known. Set before the first receive().
  void set_principal(std::string principal) { principal_ = std::move(principal); }

  // Notifications of the server's; to legacy sessions that have initialized, unless they subscribe
  // to none.
  void tell(std::string_view method, std::string_view params);
  void tell_updated(const std::string& uri);
  // That what a URL was opened for is done, if this session was asked to open it.
  void tell_elicited(const std::string& elicitation_id);
  void send(std::string message);  // unconditionally, where there is a stream

 private:
  friend class Call;
  struct Request;
  using Method = void (Session::*)(Request&);

  enum class Within { nothing, batch };
  Received receive_one(std::string text, std::shared_ptr<ReplySink> sink, const HttpClaims* http,
                       Within within, StandIns::Duty* duty);
  Received receive_batch(const std::string& text, const std::shared_ptr<ReplySink>& sink,
                         const HttpClaims* http);  // session_batch.cpp
  void receive_request(Message message, std::shared_ptr<ReplySink> sink, const HttpClaims* http,
                       StandIns::Duty* duty);
  void receive_notification(const Message& message);
  void receive_response(const Message& message);
  Result<void> read_params(Request& request);
  Result<void> settle_era(Request& request, const HttpClaims* http);

  // session_methods.cpp
  void initialize(Request& request);
  void ping(Request& request);
  void set_level(Request& request);
  void discover(Request& request);
  void list_tools(Request& request);
  void list_resources(Request& request);
  void list_resource_templates(Request& request);
  void list_prompts(Request& request);
  void subscribe(Request& request);
  void unsubscribe(Request& request);
  void listen(Request& request);
  // session_tasks.cpp
  std::shared_ptr<Task> find_task(Request& request);  // nullptr: it has answered the request
  void get_task(Request& request);
  void update_task(Request& request);
  void cancel_task(Request& request);
  // session_calls.cpp
  void call_tool(Request& request);
  void read_resource(Request& request);
  void get_prompt(Request& request);
  void complete(Request& request);

  void list(Request& request, int kind);
  void respond(Request& request, std::string_view result);
  void respond_cacheable(Request& request, std::string_view result);
  void fail_request(Request& request, const Error& error);
  Result<void> check_param_headers(const Request& request,
                                   const std::vector<ParamHeader>& headers) const;
  std::shared_ptr<Call> start_call(Request& request, std::string name);
  // Runs a handler on the pool, or here if it is quick, inside the barrier: whatever it throws
  // becomes this call's answer. `pace` is the handler's; without one it goes to the pool.
  template <class Handler>
  void run(Request& request, std::shared_ptr<Call> call, std::shared_ptr<Pace> pace,
           Handler handler);
  // Sends requests to the client and waits for their answers (up to 2025-11-25; session_asks.cpp).
  struct Question {
    std::string_view method;
    std::string params;
  };
  std::vector<Result<std::string>> ask(ReplySink& sink, const std::vector<Question>& questions,
                                       std::stop_token stop);
  void expect_completion(std::string elicitation_id);
  // A call's id leaves the table, then its answer is written, then the call has ended.
  void release_id(const RequestId& id);
  void end_call();
  void dispatch(Message message, std::shared_ptr<ReplySink> sink, const HttpClaims* http,
                StandIns::Duty* duty);

  static const std::map<std::string, std::pair<Method, int>, std::less<>>& methods();

  const std::shared_ptr<Server::Impl> server_;  // shared: a forwarded call may outlive the Server
  mutable std::mutex mutex_;                    // guards what follows
  std::condition_variable idle_;
  std::map<RequestId, std::shared_ptr<Call>> calls_;
  size_t answering_ = 0;  // calls that have left calls_, whose answer is being written
  std::map<RequestId, std::shared_ptr<Listen>> listens_;
  std::shared_ptr<ReplySink> unsolicited_;
  std::string principal_;
  // Of `initialize`, up to 2025-11-25.
  std::optional<std::string> legacy_version_;
  std::shared_ptr<const Asker> legacy_;
  std::set<std::string> subscribed_, elicited_;
  // Requests to the client that wait for an answer.
  std::condition_variable_any answered_;
  std::map<RequestId, std::optional<Result<std::string>>> asks_;
  int64_t next_ask_ = 1;
};

}  // namespace gpumcp::mcp
