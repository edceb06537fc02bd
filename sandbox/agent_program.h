// The agent programs that run_agent() drives: how each is started headless with MCP servers in
// place, and what the lines mean that it prints. Pure, but for find_agent_program(), which looks at
// PATH, and for files that prepare_agent() writes into a folder of the run's own. Checked against
// claude 2.1, codex 0.169 and gemini 0.61; lines of kinds unknown here are passed on as `other`.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "mcp/json.h"
#include "mcp/result.h"

namespace gpumcp::sandbox {

struct AgentMessage {
  enum class Kind {
    system,       // the program says what it works with
    text,         // the agent speaks
    thinking,     // to itself
    tool_call,    // `tool` with `text`, its arguments as JSON
    tool_result,  // `text`; `failed`
    result,       // how it ended: `text` is the last word; `failed`
    other,
  };
  Kind kind = Kind::other;
  std::string text, tool;
  bool failed = false;
};

std::string_view kind_name(AgentMessage::Kind kind);

// An MCP server that the agent gets.
struct AgentServer {
  std::string name;
  std::string command;
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  std::string url;  // instead of a command
  std::map<std::string, std::string> headers;
};

// {"mcpServers": {NAME: {…}}}, as hosts write it, or the inner object. Error invalid_params names
// the entry.
mcp::Result<std::vector<AgentServer>> parse_mcp_config(const mcp::Json& config);

// claude, codex, gemini.
std::vector<std::string> agent_providers();
// Where its program lies. Error invalid_params for an unknown one, io_error with the line that
// installs it.
mcp::Result<std::filesystem::path> find_agent_program(const std::string& provider);

struct AgentSetup {
  std::string provider = "claude";
  std::vector<AgentServer> servers;
  std::string model;   // empty: the program's own choice
  bool shell = false;  // may run commands and change files; else it has its tools alone
  std::vector<std::string> inherit;    // variables of this environment that servers must see
  std::vector<std::string> arguments;  // more, for the program
};

struct AgentCommand {
  std::vector<std::string> arguments;      // without the program; the prompt comes on its stdin
  std::map<std::string, std::string> env;  // beside this process' own
};

// Writes configuration files into `folder` where the program wants some.
mcp::Result<AgentCommand> prepare_agent(const AgentSetup& setup,
                                        const std::filesystem::path& folder);

// What a line of the program's output says: often one message, sometimes several or none.
std::vector<AgentMessage> read_agent_line(const std::string& provider, const mcp::Json& line);

}  // namespace gpumcp::sandbox
