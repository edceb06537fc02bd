// Call: one request whose handler runs: tools/call, resources/read, prompts/get,
// completion/complete. The Context of its handler, or the ForwardedRequest of a forwarder. Shared
// by the session's table, by the task on the pool and by whoever forwards; the first answer counts,
// a cancelled call answers nothing. Thread-safe. Private to mcp.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <stop_token>

#include "mcp/context.h"
#include "mcp/server.h"
#include "mcp/session.h"
#include "mcp/session_request.h"
#include "mcp/tasks.h"

namespace gpumcp::mcp {

class Call final : public Context,
                   public ForwardedRequest,
                   public std::enable_shared_from_this<Call> {
 public:
  struct Spec {
    RequestId id;
    std::string method;
    std::string name;  // the tool's, the prompt's, or the resource's URI
    bool modern = false;
    std::shared_ptr<const Asker> asker;
    std::shared_ptr<const RequestMeta> meta;
    std::string principal;
    std::string arguments;                       // JSON text
    std::string input_responses, request_state;  // JSON texts, of a retry (2026-07-28)
    std::shared_ptr<ReplySink> sink;
  };
  Call(std::shared_ptr<Session> session, Spec spec);
  ~Call() override;

  // Reads what a retry brought: its state, if it is one of ours, and the answers. Before the
  // handler.
  Result<void> open_round();

  // Answers; does nothing after the first answer or a cancellation.
  void finish(const CallToolResult& result);
  void finish_contents(const std::vector<ResourceContents>& contents);
  void finish_text(std::string result);  // of any other method
  void finish_error(const Error& error);
  void finish_missing(const MissingCapability& missing);
  void finish_round();  // the handler left in ask(): tells what is wanted (2026-07-28)
  // What a handler threw: isError for tools, a JSON-RPC error for the others.
  void fail_handler(const std::string& what, ErrorCode code = ErrorCode::internal_error);
  void cancel();

  // Context
  void progress(double progress, std::optional<double> total, std::string_view message) override;
  std::stop_token stop_token() const override { return stop_.get_token(); }
  void log(LogLevel level, const Json& data, std::string_view logger) override;
  void set_meta(std::string_view key, Json value) override;
  const CallInfo& call() const override;
  const ClientCapabilities& client_capabilities() const override {
    return spec_.asker->capabilities;
  }
  std::map<std::string, InputResponse> ask(std::map<std::string, InputRequest> requests) override;
  Json& state() override { return state_; }
  void release_stream(std::chrono::milliseconds retry) override;
  bool start_task(TaskOptions options) override;  // call_task.cpp

  // ForwardedRequest
  const std::string& method() const override { return spec_.method; }
  const std::string& name() const override { return spec_.name; }
  std::string_view arguments() const override { return spec_.arguments; }
  std::string round() const override;
  const ClientCapabilities& capabilities() const override { return spec_.asker->capabilities; }
  const Json& meta() const override { return spec_.meta->json; }
  const std::string& protocol_version() const override { return spec_.asker->version; }
  bool wants_progress() const override { return !spec_.meta->progress_token.empty(); }
  void progress(const Json& params) override;
  void respond_result(std::string_view result) override;
  void respond_error(Error error) override { finish_error(error); }
  void respond_tool_error(std::string_view text) override;

 private:
  void send(std::string message, std::optional<ErrorCode> code);
  bool claim();  // true for the first answer; no notification is on its way any more
  void append_result(std::string& out, const CallToolResult& result);
  void notify_progress(const Json& params);
  std::string seal_context() const;
  std::map<std::string, InputResponse> ask_now(
      const std::map<std::string, InputRequest>& requests);  // up to 2025-11-25

  std::shared_ptr<Task> task() const;  // nullptr: it is none
  std::map<std::string, InputResponse> ask_task(
      Task& task, const std::map<std::string, InputRequest>& requests);
  void stop_task();

  const std::shared_ptr<Session> session_;
  const Spec spec_;
  mutable std::once_flag info_made_;
  mutable std::optional<CallInfo> info_;  // for handlers that ask for it
  std::stop_source stop_;
  // Answered or cancelled. Set without the mutex, so that a cancellation does not wait for a
  // notification that a peer does not read.
  std::atomic<bool> answered_ = false;
  mutable std::mutex mutex_;  // guards what follows, and the order of what is sent
  std::shared_ptr<Task> task_;
  double last_progress_ = -1;
  Json result_meta_ = nullptr;
  // The handler's own thread's: what was asked for, what has been answered (by key), its state.
  std::map<std::string, InputRequest> wanted_;
  Json answers_ = Json::object(), given_ = Json::object();
  Json state_ = nullptr;
};

// Adds resultType and the server's identity to a result's text, as 2026-07-28 wants; an existing
// _meta keeps its keys.
std::string modern_result(std::string_view result, std::string_view info_member);
// `"io.modelcontextprotocol/serverInfo":{…}`
std::string server_info_member(const Implementation& server);

}  // namespace gpumcp::mcp
