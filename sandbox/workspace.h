// Workspace: what an agent gets to work with: Python modules of the user's own, and served
// interfaces as modules, MCP tools, skills or pages. create_local_session() lays it out in a
// folder, where the agent then runs and executes its code.
//
//   DIR/helpers.py  DIR/model_tools/   modules that `import` finds
//   DIR/.claude/skills/NAME/           skills
//   DIR/.mcp.json                      servers, as Claude Code and others read them
//   DIR/AGENTS.md, DIR/CLAUDE.md       what there is, for the agent's prompt
//
// Values and free functions; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mcp/result.h"
#include "sandbox/manifest.h"

namespace gpumcp::sandbox {

struct Library {
  enum class Kind { file, directory, served };
  std::string name;
  Kind kind = Kind::file;
  std::filesystem::path path = {};              // of a file or directory
  std::string expose_as = "library";            // a served one: library, mcp, prompt or skill
  Manifest manifest = {};                       // its tools
  std::vector<std::string> serve_command = {};  // PROGRAM serve WORDS: serves them over stdio

  // A module. Error invalid_params: there is none, or its name is none of Python's.
  static mcp::Result<Library> from_file(const std::filesystem::path& file);
  // A package (with or without __init__.py), or a skill's folder, which has a SKILL.md.
  static mcp::Result<Library> from_directory(const std::filesystem::path& directory);
  // Error invalid_params for an unknown `expose_as`.
  static mcp::Result<Library> served(std::string name, Manifest manifest,
                                     std::vector<std::string> serve_command,
                                     std::string expose_as = "library");

  // Markdown for a prompt: what is in it, and how it is called.
  std::string docs() const;
};

struct Workspace {
  std::vector<Library> libraries = {};
  std::vector<std::filesystem::path> files = {};  // copied into the folder as they are
  std::string instructions = {};                  // more words for the agent

  std::string docs() const;
};

struct LocalSession {
  std::string name;
  std::filesystem::path folder;                // the agent's working folder
  mcp::Json mcp_config;                        // {"mcpServers": {…}}, for run_agent()
  std::string docs;                            // what stands in AGENTS.md
  bool needs_shell = false;                    // something is used by running Python
  std::vector<std::filesystem::path> written;  // what was made or made anew
};

// Makes the folder if it is missing. What lies there and is not of an earlier session stays.
mcp::Result<LocalSession> create_local_session(const Workspace& workspace,
                                               const std::filesystem::path& workspace_dir,
                                               const std::string& name);

}  // namespace gpumcp::sandbox
