// SandboxRecord: a sandbox by name, as a program left it for others: for fronts that hosts and
// agents' modules start (`gpumcp serve --sandbox NAME`), and for whoever attaches to it later. A
// small file, ~/.cache/gpumcp/sandboxes/NAME.json (0600); no process belongs to it. Records whose
// owner ended without a word are removed by the next that looks. Values and free functions.
#pragma once

#include <string>
#include <vector>

#include "mcp/result.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

struct SandboxRecord {
  std::string name;
  SandboxConfig config;
  // Who removes it: a process, and when that began (a number may come again). 0: nobody, it stays.
  int owner = 0;
  std::string owner_began = {};
};

// [A-Za-z0-9._-], 1 to 64 of them, the first a letter or a digit. Empty, or what is wrong.
std::string check_sandbox_name(const std::string& name);

mcp::Result<void> save_record(const SandboxRecord& record);
// Error invalid_params names the sandboxes that there are.
mcp::Result<SandboxRecord> load_record(const std::string& name);
std::vector<std::string> list_records();
// Where it lies, of a name that was checked.
std::filesystem::path record_path(const std::string& name);
void remove_record(const std::string& name);

// When a process began, in the kernel's ticks; empty: none runs.
std::string process_began(int pid);

}  // namespace gpumcp::sandbox
