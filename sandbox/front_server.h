// FrontServer: an MCP server that lists interfaces' tools, and the front that runs them in their
// sandbox's worker: what `gpumcp serve` serves. FrontClient: the same with a client in this
// process, for programs that call the tools themselves. Both are owned by whoever serves or calls;
// the worker is started by the first call. Thread-safe as Server and Client are.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "mcp/client.h"
#include "mcp/server.h"
#include "sandbox/front.h"

namespace gpumcp::sandbox {

struct FrontServerOptions {
  SandboxConfig config;
  std::vector<Manifest> manifests;  // of the tools to list, under the names to show
  std::filesystem::path workspace = {};
  std::string name = "gpumcp", instructions = {};
  // Tools of the worker that stand in no manifest, since only programs call them.
  std::vector<std::string> program_tools = {};
};

struct FrontServer {
  explicit FrontServer(FrontServerOptions options);
  std::unique_ptr<mcp::Server> server;
  // Declared last, destroyed first: its calls answer through the server.
  std::unique_ptr<Front> front;
};

class FrontClient {
 public:
  FrontClient(FrontServerOptions options, mcp::ClientOptions client_options);
  ~FrontClient();
  FrontClient(const FrontClient&) = delete;
  FrontClient& operator=(const FrontClient&) = delete;
  mcp::Client& client() { return *client_; }

 private:
  void end();

  FrontServer front_;
  std::unique_ptr<mcp::Transport> server_end_;
  std::thread serving_;
  std::unique_ptr<mcp::Client> client_;
};

}  // namespace gpumcp::sandbox
