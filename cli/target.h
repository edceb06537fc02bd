// Target: the server that a command talks to: --url, a command after --, or the sandbox's own front
// in this process. Owned by the command; main thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cli/sandbox_options.h"
#include "mcp/client.h"

namespace gpumcp::cli {

struct TargetOptions {
  SandboxOptions sandbox;
  std::string url, token_file, era = "auto";
  std::vector<std::string> command;

  void declare(CLI::App& app, bool positional_interfaces);
};

class Target {
 public:
  explicit Target(const TargetOptions& options);
  ~Target();
  // Throws std::runtime_error if there is no way to reach the server.
  mcp::Client& client() { return *client_; }

 private:
  void end();

  std::unique_ptr<FrontServer> front_;
  std::unique_ptr<mcp::Transport> server_end_;
  std::thread serving_;
  std::unique_ptr<mcp::Client> client_;
};

}  // namespace gpumcp::cli
