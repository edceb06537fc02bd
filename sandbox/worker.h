// The worker: the process that opens the interfaces, holds the device and runs the calls of all
// fronts of one sandbox. Started by a front; leaves by itself.
//
//   start ─▶ listen ─▶ connection file ─▶ serve ──idle──▶ leave: lock the folder, take the
//   connection file
//                                          │               away, drop new calls, tell the fronts,
//                                          spill, exit └─ a call ignores its cancellation: the
//                                          same, then exit at once
//
// run_worker() owns everything and is called by the main thread of `gpumcp worker`. Exit codes: 0
// left or was stopped, 1 could not start, 3 replaced because of a call that would not end.
#pragma once

#include <string_view>

#include "mcp/protocol.h"
#include "sandbox/runtime_folder.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

inline constexpr int kWorkerReplaced = 3;
// Sent to fronts before a worker leaves: {"reason", "running"}. With running 0, what it has not
// answered was not begun; else that may have been begun, and calls that are not are answered so
// (ErrorCode::not_begun).
inline constexpr const char* kLeavingNotification = "notifications/gpumcp/leaving";
// A front says {"idle_s": S or null, "ledger": FILE} once it is connected; the worker stays for the
// longest that it was told, and writes into each ledger what it holds (ledger.h).
inline constexpr const char* kAttachMethod = "gpumcp/attach";

// The tool by which a front asks a worker to load what it serves (PluginHost::on_load); its answer
// is the worker's own word that it is ready, or why not. No agent sees it.
mcp::Tool load_tool();

inline constexpr std::string_view kStartNote = "~ ";

struct WorkerOptions {
  SandboxConfig config;
  // "ready\n" is written there once the worker can be reached, else an error text; before that
  // lines of kStartNote and how it goes.
  int ready_fd = -1;
  bool config_stdin = false;  // the configuration is stdin's first line (carried.h); implies stdio
  bool stdio = false;  // serve stdin and stdout instead of a socket, for hosts that want no front
};

int run_worker(const WorkerOptions& options);

}  // namespace gpumcp::sandbox
