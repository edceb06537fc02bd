#include "sandbox/host_config.h"

#include <fmt/format.h>

#include "mcp/json.h"

namespace gpumcp::sandbox {
namespace {

std::string pretty(const mcp::Json& json) {
  return json.dump(2, ' ', false, mcp::Json::error_handler_t::replace);
}

// One word of a shell line.
std::string shell_word(const std::string& word) {
  if (!word.empty() &&
      word.find_first_not_of(
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./=:,@%+-") == word.npos)
    return word;
  std::string out = "'";
  for (char c : word) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  out += "'";
  return out;
}

// TOML's basic strings escape as JSON's do.
std::string quote(const std::string& text) {
  std::string out;
  mcp::append_string(out, text);
  return out;
}

}  // namespace

std::vector<std::string> known_hosts() {
  return {"claude-desktop", "claude-code", "codex", "gemini", "vscode", "cursor"};
}

std::optional<HostEntry> host_config(const std::string& host, const std::string& name,
                                     const std::string& command,
                                     const std::vector<std::string>& args) {
  const mcp::Json entry = {{"command", command}, {"args", args}};
  const std::string common = pretty({{"mcpServers", {{name, entry}}}});
  if (host == "claude-desktop")
    return HostEntry{common,
                     "claude_desktop_config.json: ~/.config/Claude/ (Linux), ~/Library/Application "
                     "Support/Claude/ "
                     "(macOS), %APPDATA%\\Claude\\ (Windows); then restart Claude Desktop"};
  if (host == "claude-code") {
    std::string line =
        fmt::format("claude mcp add {} -- {}", shell_word(name), shell_word(command));
    for (auto& arg : args) line += fmt::format(" {}", shell_word(arg));
    mcp::Json stdio = {{"type", "stdio"}};
    stdio.update(entry);
    return HostEntry{pretty({{"mcpServers", {{name, std::move(stdio)}}}}),
                     ".mcp.json of a project; or run: " + line};
  }
  if (host == "codex") {
    std::string list;
    for (auto& arg : args) (list += list.empty() ? "" : ", ") += quote(arg);
    return HostEntry{
        fmt::format("[mcp_servers.{}]\ncommand = {}\nargs = [{}]", name, quote(command), list),
        "~/.codex/config.toml"};
  }
  if (host == "gemini")
    return HostEntry{common, "~/.gemini/settings.json, or .gemini/settings.json of a project"};
  if (host == "vscode") {
    mcp::Json stdio = {{"type", "stdio"}};
    stdio.update(entry);
    return HostEntry{pretty({{"servers", {{name, std::move(stdio)}}}}),
                     ".vscode/mcp.json of a project"};
  }
  if (host == "cursor")
    return HostEntry{common, "~/.cursor/mcp.json, or .cursor/mcp.json of a project"};
  return std::nullopt;
}

}  // namespace gpumcp::sandbox
