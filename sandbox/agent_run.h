// run_agent: an agent program works on a prompt here, headless, with MCP servers and a workspace,
// while what it calls runs on a GPU elsewhere. Messages are handed on as they come; at the end
// stands the ledger (ledger.h).
//
//   start the program in a process group of its own, prompt on its stdin
//     └─▶ a line of JSON: its messages, and the line itself ─▶ … ─▶ it ends, or `stop` asks
//           └─ SIGINT, after 2 s SIGTERM, after 2 more SIGKILL, to the whole group
//     └─▶ what it left running is ended, workers that only served this run are let go ─▶ ledger
//
// Blocking; the callback runs on the caller's thread. One at a time per process is not required.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "sandbox/agent_program.h"
#include "sandbox/ledger.h"

namespace gpumcp::sandbox {

struct AgentRunOptions {
  std::string provider = "claude";     // agent_providers()
  std::filesystem::path workspace;     // its working folder; must exist
  std::filesystem::path program = {};  // empty: looked up on PATH
  std::string model = {};
  bool shell = false;                           // may run commands and change files
  std::vector<std::string> arguments = {};      // more, for the program
  std::map<std::string, std::string> env = {};  // beside this process' own
  std::vector<std::string> inherit = {};        // variables that its servers must see
  std::optional<double> price = {};             // of an hour of the GPU
  bool keep_workers = false;                    // leave them to their idle time
  std::filesystem::path ledger = {};            // keep it there; empty: nowhere
};

struct AgentOutcome {
  int exit_code = 0;  // of the program; 128 + N if signal N ended it
  bool interrupted = false;
  bool failed = false;  // it said so, or its exit code does
  std::string result;   // its last word
  std::string error;    // what it printed on stderr at last, if it failed
  LedgerSummary ledger;
};

// `line` is the program's own JSON; the messages are what it says. Error invalid_params or io_error
// if the program could not be started.
using OnAgentMessage =
    std::function<void(const mcp::Json& line, const std::vector<AgentMessage>& messages)>;
mcp::Result<AgentOutcome> run_agent(const std::string& prompt, const mcp::Json& mcp_config,
                                    const AgentRunOptions& options,
                                    const OnAgentMessage& on_message = {},
                                    std::stop_token stop = {});

// What a run that was killed leaves behind, and the process that then ends it (gpumcp run-guard):
// `fd` gives a word when the run has ended in order, and its end when it cannot.
struct AbandonedRun {
  std::string mark;              // kRunVariable of its processes
  std::filesystem::path folder;  // of the run's own
  std::filesystem::path ledger;
  double began = 0;
  bool keep_workers = false;
  mcp::Json to_json() const;
  static AbandonedRun from_json(const mcp::Json& json);
};
void guard_run(const AbandonedRun& run, int fd);

}  // namespace gpumcp::sandbox
