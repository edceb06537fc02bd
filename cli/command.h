// The table of subcommands. Each lives in a file of its own as a Command: a name, one line for the
// overview, an example for its --help, and a function that declares its options and returns what to
// run. Main thread only.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

namespace gpumcp::cli {

// Exit codes of the program.
inline constexpr int kOk = 0, kFailed = 1, kUsage = 1, kUnreachable = 4, kToolError = 5;

struct Command {
  const char* name;
  const char* summary;
  const char* examples;  // the footer of --help
  // Declares options on `app`; the returned function runs the command and gives the exit code.
  // `behind` are the words behind "--": another server's command line, which is not parsed.
  std::function<std::function<int()>(CLI::App& app, const std::vector<std::string>& behind)>
      declare;
};

Command build_command();
Command call_command();
Command config_command();
Command embed_command();
Command expose_command();
Command generate_command();
Command isolated_command();
Command run_guard_command();
Command manifest_command();
Command models_command();
Command new_command();
Command doctor_command();
Command pull_command();
Command run_command();
Command sandbox_command();
Command serve_command();
Command status_command();
Command stop_command();
Command tokenize_command();
Command tools_command();
Command version_command();
Command worker_command();

}  // namespace gpumcp::cli
