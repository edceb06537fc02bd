// Isolation of interface code (SandboxConfig::isolate): what it may read, write and reach is what
// the configuration says and what it cannot run without; nothing else of the machine, the user or
// other processes. Bubblewrap builds a world of its own for a Python file's process; Landlock with
// seccomp takes rights away, for native interfaces from the worker itself. Where neither works
// the worker refuses to start.
//
//   worker ──spawns──▶ gpumcp isolated SPEC -- python …  ──execs──▶ bwrap … gpumcp isolated …
//   python
//                                                        └─ or confines itself, then ──execs──▶
//                                                        python
//
// Free functions; what they throw is std::runtime_error with what to do about it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mcp/json.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

// bubblewrap or landlock, of what was asked for (auto, bubblewrap, landlock). `native`: whether
// code of the worker's own process is to be isolated, which only Landlock can.
std::string choose_isolation(const std::string& asked, bool native);

// The words before a command that run it isolated. `interface`: the source file; `scratch`: a
// folder of its own, its home and TMPDIR.
std::vector<std::string> isolation_words(const SandboxConfig& config, const std::string& how,
                                         const std::filesystem::path& interface,
                                         const std::filesystem::path& scratch);
// `gpumcp isolated`: runs the command as the words above say. Returns only by throwing.
[[noreturn]] void run_isolated(const mcp::Json& spec, const std::vector<std::string>& command);
// Takes this process' rights away, before its first thread. `write`: folders of the worker's own.
void isolate_worker(const SandboxConfig& config, const std::filesystem::path& scratch,
                    const std::vector<std::filesystem::path>& write,
                    const std::vector<std::filesystem::path>& entries);

}  // namespace gpumcp::sandbox
