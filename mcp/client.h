// Client: the other side of a Server, over any Transport; for programs, for tests, and for a front
// that forwards to its worker. connect() settles the era: server/discover first, `initialize` where
// that is refused. Owns a reader thread. Thread-safe. Destruction closes the transport; calls in
// flight end with Error closed. Callbacks run on the reader thread and must not block; a call that
// waits, made from there, is refused. Handlers (client_handlers.h) may block.
//
//   client.cpp          messages: what is in flight, and the reader
//   client_era.cpp      which protocol version is spoken, and what each request says of it
//   client_calls.cpp    calls that wait: time-outs, rounds of input_required, tools and the rest
//   client_tasks.cpp    calls that go on as tasks: asking after them, answering, following
//   client_lists.cpp    lists to their end, and what is kept of them
//   client_asks.cpp     what a server up to 2025-11-25 asks of the client
//   client_listen.cpp   subscriptions in both eras
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <variant>
#include <vector>

#include "mcp/client_cache.h"
#include "mcp/client_handlers.h"
#include "mcp/message.h"
#include "mcp/protocol.h"
#include "mcp/thread_pool.h"
#include "mcp/transport.h"

namespace gpumcp::mcp {

enum class Era { automatic, legacy, modern };

// A server's log line (notifications/message).
struct LogMessage {
  LogLevel level = LogLevel::info;
  std::string logger;
  Json data;
};

struct ClientOptions {
  Implementation info = {"gpumcp-client", "0"};
  Era era = Era::automatic;
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(30);
  // Called for notifications that belong to no call in flight. Params as JSON text.
  std::function<void(const std::string& method, std::string_view params)> on_notification = {};
  // Called once when a connection that connect() gave ends, before calls in flight get their error.
  std::function<void()> on_closed = {};

  ClientHandlers handlers = {};
  std::function<void(const LogMessage&)> on_log = {};
  int max_rounds = 10;  // of input_required for one call
  // Declares the extension io.modelcontextprotocol/tasks (2026-07-28): calls may go on as tasks.
  bool tasks = true;
  // What is remembered of this server; several clients may share one. `server` names it there (its
  // URL or command), `principal` whose results they are. Null, or no name: the client's own.
  std::shared_ptr<ClientCache> cache = {};
  std::string server = {}, principal = {};
};

// A call that goes on as a task, as its server tells it (SEP-2663).
struct TaskInfo {
  enum class Status { working, input_required, completed, failed, cancelled };
  std::string id;
  Status status = Status::working;
  std::string message = {};                           // what it does, for the user
  std::string created_at = {}, last_updated_at = {};  // ISO 8601
  std::optional<std::chrono::milliseconds> ttl = {};  // after which it is forgotten; none: never
  std::chrono::milliseconds poll_interval = std::chrono::seconds(1);
  // Of get_task(): what the status brings. Questions by key; a CallToolResult's text; an error.
  Json input_requests = Json::object();
  std::string result = {};
  std::optional<Error> error = {};

  bool ended() const { return status >= Status::completed; }
};

struct CallOptions {
  // Without a word from the server; for each round of input_required anew. The handlers' time does
  // not count.
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  std::stop_token stop_token = {};  // cancels the call and tells the server
  std::function<void(const Json& params)> on_progress = {};
  // Progress starts the time-out anew, up to so long in all. Zero: it does not.
  std::chrono::milliseconds max_timeout = std::chrono::milliseconds(0);
  std::optional<LogLevel> log_level = {};  // 2026-07-28: for this call; else set_log_level()'s
  bool fresh = false;                      // lists and reads: ask, whatever is remembered
  Json meta = Json::object();              // further members of `_meta`
  // The call goes on as a task, or that task has changed. On the calling thread.
  std::function<void(const TaskInfo& task)> on_task = {};
};

// What to hear about. Lists: when they change; resources: when they, or parts of them, do.
struct ListenRequest {
  bool tools = false, prompts = false, resources = false;
  std::vector<std::string> uris = {};
};
struct ListenEvent {
  // resumed: the subscription broke and stands again, so changes may have been missed. ended: the
  // server ended or refuses it, or the connection is closed; nothing follows.
  enum class Kind { tools, prompts, resources, updated, resumed, ended };
  Kind kind = Kind::ended;
  std::string uri = {};  // updated
};
struct Listening {
  int64_t id = 0;
  ListenRequest honoured;  // what the server agreed to
};

// What completion/complete proposes values for: an argument of a prompt, or of a resource template.
struct CompletionQuery {
  std::string prompt = {}, uri_template = {};       // one of them
  std::string argument = {}, value = {};            // its name, and what has been typed
  std::map<std::string, std::string> context = {};  // arguments that are settled
};

class Client {
 public:
  static Result<std::unique_ptr<Client>> connect(std::unique_ptr<Transport> transport,
                                                 ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  const std::string& protocol_version() const { return version_; }
  bool modern() const { return is_modern_version(version_); }
  const Json& server_info() const { return server_info_; }  // {name, version, …}
  const Json& server_capabilities() const { return capabilities_; }
  const std::string& instructions() const { return instructions_; }

  // Lists, all pages of them. Over HTTP, tools whose "x-mcp-header" is not valid are left out.
  Result<std::vector<Tool>> list_tools(const CallOptions& options = {});
  Result<std::vector<Resource>> list_resources(const CallOptions& options = {});
  Result<std::vector<ResourceTemplate>> list_resource_templates(const CallOptions& options = {});
  Result<std::vector<Prompt>> list_prompts(const CallOptions& options = {});

  // The result's text as it came is in `raw`, if given. These three answer what the server asks in
  // between with the handlers. A call that goes on as a task is followed to its result:
  // options.timeout is then for each word of the server, max_timeout for all of it, and giving up
  // cancels the task.
  Result<CallToolResult> call_tool(const std::string& name, const Json& arguments,
                                   const CallOptions& options = {}, std::string* raw = nullptr);
  Result<std::vector<ResourceContents>> read_resource(const std::string& uri,
                                                      const CallOptions& options = {});
  Result<GetPromptResult> get_prompt(const std::string& name,
                                     const std::map<std::string, std::string>& arguments = {},
                                     const CallOptions& options = {});
  Result<Completion> complete(const CompletionQuery& query, const CallOptions& options = {});

  // Tasks (2026-07-28). start_tool() is call_tool() that does not follow: it gives the task, or the
  // result where the call became none. The id is all that is needed to come back to a task, from
  // another client too. Error invalid_params: there is none of that id (any more).
  Result<std::variant<CallToolResult, TaskInfo>> start_tool(const std::string& name,
                                                            const Json& arguments,
                                                            const CallOptions& options = {});
  Result<TaskInfo> get_task(const std::string& id, const CallOptions& options = {});
  // Answers to its questions, by key, as results of their methods; some may wait.
  Result<void> update_task(const std::string& id, const Json& input_responses,
                           const CallOptions& options = {});
  Result<void> cancel_task(const std::string& id, const CallOptions& options = {});
  // Asks after it, as often as it wants to be asked, and answers its questions with the handlers.
  Result<CallToolResult> follow_task(const std::string& id, const CallOptions& options = {},
                                     std::string* raw = nullptr);

  Result<void> ping(const CallOptions& options = {});
  // For this session (up to 2025-11-25) or all later calls (2026-07-28). Lines go to on_log.
  Result<void> set_log_level(LogLevel level);
  // Tells a server up to 2025-11-25 that handlers.roots would answer otherwise now.
  void roots_changed();

  // Hears about changes until stop_listening(). `on_event` runs on the reader thread, one at a
  // time but for `resumed`. What is remembered of a changed list is forgotten before.
  Result<Listening> listen(ListenRequest request, std::function<void(const ListenEvent&)> on_event);
  void stop_listening(int64_t id);

  // One request, waiting for its result's text, whatever that says. `params` are the members
  // without braces, `_meta` is added; what `meta` says of clientCapabilities and clientInfo stays.
  Result<std::string> request(std::string_view method, std::string_view params,
                              const CallOptions& options = {}, Json meta = Json::object());
  // The same without waiting. on_result runs once, on the reader thread or, if sending fails, on
  // this one.
  struct AsyncHandlers {
    std::function<void(Result<std::string_view>)> on_result;
    std::function<void(const Json& params)> on_progress = {};
  };
  RequestId request_async(std::string_view method, std::string_view params, AsyncHandlers handlers,
                          Json meta = Json::object());
  // Tells the server and forgets the call; on_result will not run any more.
  void cancel(const RequestId& id, std::string_view reason = "cancelled by the caller");
  bool closed() const;
  void close();

 private:
  struct Subscription;

  Client(std::unique_ptr<Transport> transport, ClientOptions options);

  // client.cpp
  RequestId next_id();
  void start(const RequestId& id, std::string_view method, std::string_view params,
             AsyncHandlers handlers, Json meta);
  void read_loop();
  void on_message(const Message& message);
  void on_answer(const Message& message);
  void on_progress(const Message& message);
  void on_notification(const Message& message);
  Error closed_error() const;  // with the mutex held
  void fail_all(const Error& error);
  std::shared_ptr<AsyncHandlers> take_pending(const RequestId& id);

  // client_era.cpp
  Result<void> negotiate();
  void set_version(std::string version);
  std::string version_now() const;  // for other threads than the one that connects
  enum class Found { modern, legacy, no };
  Result<Found> discover(std::chrono::milliseconds timeout);
  Found adopt_discovered(std::string_view result);
  Result<void> initialize();
  std::string with_meta(std::string_view params, Json meta, const RequestId& id,
                        bool progress) const;

  // client_calls.cpp
  // How a request was answered in the end.
  struct Outcome {
    std::string text;
    int rounds = 0;
    bool is_task = false;
  };
  Result<Outcome> request_rounds(std::string_view method, const std::string& params,
                                 const CallOptions& options);
  Result<Outcome> call(const std::string& name, const Json& arguments, const CallOptions& options);
  Result<std::string> answers_to(std::string_view requests, std::stop_token stop);

  // client_tasks.cpp
  Result<std::string> follow(TaskInfo task, const CallOptions& options);
  Result<void> answer_task(const TaskInfo& task, std::set<std::string>& answered,
                           const CallOptions& options);

  // client_lists.cpp
  Result<ClientCache::Texts> pages(std::string_view method, const CallOptions& options);
  ClientCache::Key cache_key(std::string_view method, std::string_view params) const;
  void forget(std::string_view method, std::optional<std::string_view> uri = {});
  void forget_all();
  template <class T>
  Result<std::vector<T>> list(std::string_view method, const char* member,
                              Result<T> (*read)(const Json&), const CallOptions& options);

  // client_asks.cpp
  void on_question(const Message& message);
  void on_question_cancelled(std::string_view params);

  // client_listen.cpp
  bool on_change(const Message& message);
  void tell_listeners(const ListenEvent& event, const RequestId& subscription);
  void send_listen(const std::shared_ptr<Subscription>& subscription);
  void on_listen_ended(const std::shared_ptr<Subscription>& subscription, const Error* error);
  void listen_again(std::shared_ptr<Subscription> subscription);
  void on_renewed();
  Result<void> subscribe(const std::string& uri);
  void end_subscriptions();

  const std::unique_ptr<Transport> transport_;
  const ClientOptions options_;
  const std::shared_ptr<ClientCache> cache_;
  std::string version_{kModernVersion};  // fixed after connect(), as the next three
  Json server_info_ = Json::object(), capabilities_ = Json::object();
  std::string instructions_;
  Json offered_ = Json::object();  // our capabilities, for version_

  mutable std::mutex mutex_;  // guards what follows
  std::map<RequestId, std::shared_ptr<AsyncHandlers>> pending_;
  std::map<RequestId, std::stop_source> questions_;
  std::map<int64_t, std::shared_ptr<Subscription>> subscriptions_;
  std::optional<LogLevel> log_level_;
  int64_t next_id_ = 1, next_subscription_ = 1;
  bool closed_ = false, connected_ = false;
  std::string last_words_;     // an error that answered nothing
  std::stop_source stopping_;  // for what waits on the pool

  std::atomic<uint64_t> changes_ = 0;  // how often something was forgotten
  std::atomic<std::thread::id> reader_id_ = {};
  ThreadPool tasks_;  // questions of older servers, subscriptions that stand again
  std::thread reader_;
};

}  // namespace gpumcp::mcp
