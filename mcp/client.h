// Client: the other side of a Server, over any Transport; for programs, for tests, and for a front
// that forwards to its worker. connect() settles the era: server/discover first, `initialize` where
// that is refused. Owns a reader thread. Thread-safe. Destruction closes the transport; calls in
// flight end with Error closed. Callbacks run on the reader thread and must not block.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "mcp/message.h"
#include "mcp/protocol.h"
#include "mcp/transport.h"

namespace gpumcp::mcp {

enum class Era { automatic, legacy, modern };

struct ClientOptions {
  Implementation info = {"gpumcp-client", "0"};
  Era era = Era::automatic;
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(30);
  // Called for notifications that belong to no call in flight. Params as JSON text.
  std::function<void(const std::string& method, std::string_view params)> on_notification = {};
  // Called once when a connection that connect() gave ends, before calls in flight get their error.
  std::function<void()> on_closed = {};
};

struct CallOptions {
  std::chrono::milliseconds timeout = std::chrono::minutes(10);
  std::stop_token stop_token = {};  // cancels the call and tells the server
  std::function<void(const Json& params)> on_progress = {};
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

  Result<std::vector<Tool>> list_tools();
  // The result's text as it came is in `raw`, if given.
  Result<CallToolResult> call_tool(const std::string& name, const Json& arguments,
                                   const CallOptions& options = {}, std::string* raw = nullptr);
  Result<std::vector<ResourceContents>> read_resource(const std::string& uri,
                                                      const CallOptions& options = {});

  // One request, waiting for its result's text. `params` are the members without braces, `_meta` is
  // added.
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
  Client(std::unique_ptr<Transport> transport, ClientOptions options);
  Result<void> negotiate();
  Result<void> initialize();
  void read_loop();
  void on_message(const Message& message);
  void fail_all(const Error& error);
  std::string with_meta(std::string_view params, Json meta, const RequestId& id,
                        bool progress) const;

  const std::unique_ptr<Transport> transport_;
  const ClientOptions options_;
  std::string version_{kModernVersion};  // fixed after connect()
  Json server_info_ = Json::object(), capabilities_ = Json::object();
  std::string instructions_;

  mutable std::mutex mutex_;  // guards what follows
  std::map<RequestId, std::shared_ptr<AsyncHandlers>> pending_;
  int64_t next_id_ = 1;
  bool closed_ = false, connected_ = false;
  std::thread reader_;
};

}  // namespace gpumcp::mcp
