// Expose modes: a manifest's tools as something an agent's own side can use: a Python module, a
// page for its prompt, a skill, or the entries that connect hosts. All are made from the manifest
// alone; nothing starts. Free functions; an error names the file that could not be written.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sandbox/manifest.h"

namespace gpumcp::sandbox {

struct ExposeOptions {
  std::string name;                         // of the module, the page, the skill, the server
  std::filesystem::path out;                // folder that it goes into; made if it is missing
  std::vector<std::string> serve_command;   // serves these tools over stdio
  std::vector<std::string> expose_command;  // makes this again
  std::string url, token_file;              // of a server to use instead of the command
};

// The paths of what was written, the main one first.
using Written = std::vector<std::filesystem::path>;

// OUT/NAME/: a Python package with types and docstrings, standard library only.
mcp::Result<Written> expose_library(const Manifest& manifest, const ExposeOptions& options);
// OUT/NAME.md: signatures and what they do.
mcp::Result<Written> expose_prompt(const Manifest& manifest, const ExposeOptions& options);
// OUT/NAME/SKILL.md, and beside it scripts/ with the module and a program that calls it.
mcp::Result<Written> expose_skill(const Manifest& manifest, const ExposeOptions& options);
// OUT/NAME-HOST.json (or .toml): the entry of each host.
mcp::Result<Written> expose_mcp(const Manifest& manifest, const ExposeOptions& options);

}  // namespace gpumcp::sandbox
