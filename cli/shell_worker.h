// ShellWorker: the worker that a command like `gpumcp embed` has its model run in: the one that
// serves agents with the same options, started if there is none. Owned by the command, main thread;
// call() from any thread.
#pragma once

#include <memory>
#include <stop_token>
#include <string>

#include "cli/target.h"

namespace gpumcp::cli {

// How a command ends early: thrown by call(), caught by run_shell().
struct ShellExit {
  int code;
  std::string message;  // empty: nothing is to be said
};

// The options that all commands on a worker's model share.
struct ShellOptions {
  SandboxOptions sandbox;
  std::string model;  // NAME, NAME=FOLDER or FOLDER

  void declare(CLI::App& app);
};

class ShellWorker {
 public:
  // tools: those of the worker that the command calls (interfaces/shell). Starts nothing yet.
  // Throws std::invalid_argument.
  ShellWorker(const ShellOptions& options, std::vector<std::string> tools);

  // What to say to the tools: the model's name or its folder.
  const std::string& model() const { return model_; }
  // The structured result. Throws ShellExit: a tool error, a worker that cannot be reached, or the
  // stop token's stop.
  mcp::Json call(const std::string& tool, const mcp::Json& arguments, std::stop_token stop);

 private:
  std::string model_;
  std::unique_ptr<Target> target_;
};

// Runs a command's body and gives its exit code, with the message of a ShellExit on stderr.
int run_shell(const std::function<int()>& body);

}  // namespace gpumcp::cli
