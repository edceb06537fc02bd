// FrontServer: an MCP server that lists interfaces' tools, and the front that runs them in their
// sandbox's worker: what `gpumcp serve` serves. FrontClient: the same with a client in this
// process, for programs that call the tools themselves. Both are owned by whoever serves or calls;
// the worker is started by the first call. Thread-safe as Server and Client are.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "mcp/client.h"
#include "mcp/server.h"
#include "sandbox/file_watch.h"
#include "sandbox/front.h"

namespace gpumcp::sandbox {

// What a front serves: tools' manifests, under the names to show, and whose worker runs them.
struct Offer {
  SandboxConfig config = {};
  std::vector<Manifest> manifests = {};
  std::string gone = {};  // why nothing is served any more
};

struct FrontServerOptions {
  SandboxConfig config;
  std::vector<Manifest> manifests;  // of the tools to list, under the names to show
  // Where that is to change with its files: what is to be served now. Throws what is wrong with it;
  // then all stays as it was. `watched`: files beside those of the interfaces.
  std::function<Offer()> offer_now = {};
  std::vector<std::filesystem::path> watched = {};
  std::filesystem::path workspace = {};
  std::string name = "gpumcp", instructions = {};
  // Tools of the worker that stand in no manifest, since only programs call them.
  std::vector<std::string> program_tools = {};
};

struct FrontServer {
  explicit FrontServer(FrontServerOptions options);
  ~FrontServer();
  FrontServer(const FrontServer&) = delete;
  FrontServer& operator=(const FrontServer&) = delete;

  std::unique_ptr<mcp::Server> server;
  // Destroyed before the server: its calls answer through that.
  std::unique_ptr<Front> front;

 private:
  void take(const Offer& offer);

  std::vector<mcp::Tool> listed_;  // of the interfaces, for take()
  std::unique_ptr<FileWatch> watch_;
  std::atomic<bool> watching_ = false;
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
