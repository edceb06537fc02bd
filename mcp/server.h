// Server: an MCP server. Owns the tools and resources and a thread pool; serves any number of peers
// at once, over any transports, each in the protocol era that it speaks (2024-11-05 to 2025-11-25
// by `initialize`, 2026-07-28 per request), mixed at will.
//
//   int main() {
//     mcp::Server server({.name = "hello", .version = "1.0"});
//     server.expose("add", "Add two numbers.", [](double a, double b) { return a + b; }, arg("a"),
//     arg("b")); return server.serve_stdio();
//   }
//
// Thread-safe. Features may be added and removed while serving: clients are told (list_changed).
// stop() ends all serve calls: calls in flight are cancelled, their handlers are waited for when
// the server is destroyed. shut_down() lets calls finish first, for as long as options.drain.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mcp/line_transport.h"
#include "mcp/registry.h"
#include "mcp/transport.h"

namespace gpumcp::mcp {

class Session;
class ReplySink;

struct ServerOptions {
  std::string name = "gpumcp";
  std::string version = "0";
  std::string title = {};
  std::string instructions = {};  // for the model; hosts cut at 2 KB
  // affect safety
  size_t max_message_bytes = kMaxMessageBytes;
  // What may wait for a peer on a stream that does not read; beyond it that peer is cut off.
  size_t max_unread_bytes = kMaxUnreadBytes;
  size_t max_running_calls = 256;  // beyond it calls queue,
  size_t max_queued_calls = 1024;  // and beyond that they are refused at once
  // Running and queued, of one peer on a stream or of one HTTP session; more are refused at once.
  // Where peers must not wait for each other, below max_running_calls.
  size_t max_calls_per_session = 1024;
  size_t max_peers = 1024;  // of serve_listener() at one time; more are told so and left
  size_t max_batch = 64;    // messages in a batch of 2025-03-26
  // When stdin ends, or a signal does, calls in flight may still finish for this long.
  std::chrono::milliseconds drain = std::chrono::milliseconds(800);
  // Called, with no lock held, when the last running call ended and when a cancelled call goes on
  // running.
  std::function<void()> on_change = {};
  // caching hints for lists (2026-07-28 ttlMs, cacheScope "private" or "public")
  int64_t list_ttl_ms = 300000;
  std::string list_cache_scope = "private";
  size_t page_size = 0;  // of lists; 0: everything on one page
  // For what clients carry between the rounds of a request: processes that serve the same clients
  // share a secret of 32 bytes or more. Empty: a random one.
  std::string state_secret = {};
  std::chrono::seconds state_ttl = std::chrono::minutes(15);
  // How long a handler waits for a client's answer (up to 2025-11-25).
  std::chrono::milliseconds ask_timeout = std::chrono::minutes(10);
  size_t max_subscriptions = 1024;  // open subscriptions/listen of the server; URIs of a session
  // Calls that go on as tasks (Context::start_task), running or kept for their outcome; 0: none.
  size_t max_tasks = 128;
  std::chrono::milliseconds task_ttl = std::chrono::minutes(10);
  bool for_hosts = true;  // tools that hosts are known to refuse are refused when they are added
  // Display: serverInfo of 2025-11-25 and later.
  std::string description = {}, website_url = {};
  std::vector<Icon> icons = {};
};

// Answers prompts/get. `arguments` holds the declared ones that were given; required ones are
// there.
using PromptArguments = std::map<std::string, std::string>;
using PromptHandler =
    std::function<GetPromptResult(const PromptArguments& arguments, Context& context)>;
// Proposes values for an argument that begin as `value` does; `context` holds arguments that the
// user has settled already.
using Completer =
    std::function<Completion(const std::string& value, const PromptArguments& context)>;

// A request handed on undecoded, for servers that forward calls to another (a front to its worker).
// The forwarder answers it exactly once, from any thread, now or later.
class ForwardedRequest {
 public:
  virtual ~ForwardedRequest() = default;
  virtual const std::string& method() const = 0;
  virtual const std::string& name() const = 0;     // the tool's name or the resource's URI
  virtual std::string_view arguments() const = 0;  // JSON text as it came; empty if absent
  // inputResponses and requestState as members of params (`"inputResponses":{…}`), or empty.
  virtual std::string round() const = 0;
  virtual const ClientCapabilities& capabilities() const = 0;
  virtual const Json& meta() const = 0;  // params._meta, {} if absent
  virtual const std::string& protocol_version() const = 0;
  virtual bool wants_progress() const = 0;
  virtual std::stop_token stop_token() const = 0;
  virtual void progress(const Json& params) = 0;  // the upstream's params; the token is replaced
  virtual void respond_result(
      std::string_view result) = 0;  // a 2026-07-28 result, forwarded byte by byte
  virtual void respond_error(Error error) = 0;
  // For tools/call: an isError result with this text.
  virtual void respond_tool_error(std::string_view text) = 0;
};
using Forwarder = std::function<void(std::shared_ptr<ForwardedRequest>)>;

class Server final : public Registry {
 public:
  explicit Server(ServerOptions options = {});
  ~Server() override;
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  void add_tool(Tool tool, ToolHandler handler) override;
  void add_typed_tool(Tool tool, ToolHandler handler) override;
  void add_resource(Resource resource, ResourceReader reader) override;
  void add_resource_template(ResourceTemplate resource, ResourceReader reader) override;
  void add_prompt(Prompt prompt, PromptHandler handler);
  // For an argument of a prompt (by name) or of a resource template (by its uriTemplate).
  void add_completer(const std::string& prompt_or_template, const std::string& argument,
                     Completer completer);
  // False: there is none of that name. Calls that run go on.
  bool remove_tool(std::string_view name);
  bool remove_resource(std::string_view uri_or_template);
  bool remove_prompt(std::string_view name);

  // Tells those who subscribed to it that a resource has new contents.
  void notify_resource_updated(const std::string& uri);
  // Tells the client that was asked to open a URL (ElicitRequest::elicitationId) that what it had
  // to do there is done. 2025-11-25 only: later clients find out by their retry.
  void notify_elicitation_complete(const std::string& elicitation_id);
  // Tells clients to list again, where adding and removing did not already.
  void notify_list_changed(std::string_view what);  // "tools", "prompts" or "resources"
  // These tools and templates are listed here and run elsewhere: their calls go to `forwarder`, on
  // the reading thread, so it must not block.
  void add_forwarded(std::vector<Tool> tools, std::vector<ResourceTemplate> templates,
                     Forwarder forwarder);
  // From now on, with one list_changed: tools of names that are listed take their places, without
  // a moment in which there is none; others are added; those of `removed` go.
  void replace_forwarded(std::vector<Tool> tools, const std::vector<std::string>& removed,
                         Forwarder forwarder);

  // Serves one peer until it closes, close() or stop(). Returns after the calls in flight have been
  // answered (up to options.drain) or cancelled.
  void serve(Transport& transport);
  // serve() on stdin and stdout, guarded against stray prints. SIGTERM, SIGINT, SIGHUP and the
  // parent's death shut_down() the server. Returns the program's exit code.
  int serve_stdio();
  // Accepts peers on a listening descriptor (listen_unix), each on a thread of its own, at most
  // options.max_peers at one time, until stop(). Signals are the program's: ExitWatch calls
  // shut_down().
  void serve_listener(int listen_fd);
  // What was written already still goes out to peers that read, for at most options.drain in all.
  void stop();
  // drain(), then waits for the calls in flight (up to options.drain), then stop(). What SIGTERM
  // does in serve_stdio(). Not from a handler.
  void shut_down();
  bool stopped() const;

  // A method of our own (name it "gpumcp/…"), in both eras. Runs on the reading thread: it must be
  // quick.
  void add_method(std::string name,
                  std::function<Result<std::string>(std::string_view params)> method);
  // Sends a notification to every peer on a stream.
  void notify_all(std::string_view method, std::string_view params);
  // From now on new calls are answered with ErrorCode::not_begun: the server is about to leave, and
  // peers ask elsewhere. Calls that run go on.
  void drain();
  bool draining() const;

  // Since when the oldest call runs that was cancelled but does not return; nullopt: there is none.
  std::optional<std::chrono::steady_clock::time_point> oldest_abandoned() const;
  // How many such calls were cancelled at or before `when`.
  size_t abandoned_before(std::chrono::steady_clock::time_point when) const;
  std::chrono::steady_clock::time_point last_activity() const;  // when a call last began or ended
  // How many tool calls are running or queued, and how many peers are connected.
  size_t calls_in_flight() const;
  size_t connections() const;

  // For transports that are not a pair of streams (HTTP): a session without a stream of its own.
  std::shared_ptr<Session> make_session();
  const ServerOptions& options() const;

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  void stop_by(std::chrono::steady_clock::time_point deadline);

  std::shared_ptr<Impl> impl_;  // shared with sessions that a forwarder still holds
};

}  // namespace gpumcp::mcp
