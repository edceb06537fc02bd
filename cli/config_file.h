// A host's configuration file, and how an entry gets into it: other entries stay, the old file is
// kept beside it. merge_*() are pure; write_entry() touches the disk. Main thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "sandbox/host_config.h"

namespace gpumcp::cli {

// Where a host reads its entry from: in the user's home, or for claude-code and vscode in the
// project, `here`. Empty: HOME is not set.
std::filesystem::path config_file(const std::string& host, const std::filesystem::path& here);

// The file's text with the entry in it: objects are merged member by member, the innermost (the
// server's own) is replaced. Throws std::invalid_argument for text that is no JSON object.
std::string merge_json(const std::string& text, const std::string& entry);
// The same for TOML: the table that the entry begins with, [mcp_servers.NAME], is replaced or added
// at the end; its subtables ([mcp_servers.NAME.env]) stay.
std::string merge_toml(const std::string& text, const std::string& entry);

struct Written {
  std::filesystem::path file;
  std::optional<std::filesystem::path> backup;  // absent: there was no file before
  bool changed = true;                          // false: it stood there like this already
};
// Throws std::invalid_argument, std::runtime_error.
Written write_entry(const std::string& host, const std::string& entry,
                    const std::filesystem::path& here);

}  // namespace gpumcp::cli
