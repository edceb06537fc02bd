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
  // Throws std::runtime_error if there is no way to reach the server.
  mcp::Client& client() { return front_ ? front_->client() : *client_; }

 private:
  std::unique_ptr<sandbox::FrontClient> front_;
  std::unique_ptr<mcp::Client> client_;
};

// A Target, or none after what is wrong was printed: the command then returns kUnreachable. Wrong
// options throw std::invalid_argument.
std::unique_ptr<Target> open_target(const TargetOptions& options);

}  // namespace gpumcp::cli
