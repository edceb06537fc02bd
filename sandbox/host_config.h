// The entry that a host needs to start this server, in the host's own configuration format.
// Source: the hosts' documentation; each format is checked by a test that parses it. Pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace gpumcp::sandbox {

struct HostEntry {
  std::string text;   // what to paste
  std::string where;  // which file, or what to run instead
};

// Hosts: claude-desktop, claude-code, codex, gemini, vscode, cursor. nullopt: unknown host.
std::optional<HostEntry> host_config(const std::string& host, const std::string& name,
                                     const std::string& command,
                                     const std::vector<std::string>& args);
std::vector<std::string> known_hosts();

}  // namespace gpumcp::sandbox
