#include "cli/config_file.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <vector>

#include "mcp/json.h"

namespace gpumcp::cli {
namespace fs = std::filesystem;
namespace {

fs::path home(const char* below) {
  const char* home = std::getenv("HOME");
  return home && *home ? fs::path(home) / below : fs::path();
}

// Objects member by member; the third level (servers, NAME, the entry) is taken whole.
void merge(mcp::Json& into, const mcp::Json& from, int levels) {
  for (const auto& [key, value] : from.items()) {
    if (levels > 1 && value.is_object() && into.contains(key) && into[key].is_object())
      merge(into[key], value, levels - 1);
    else
      into[key] = value;
  }
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

// "[mcp_servers.x]" of a line that opens a table, without spaces and comments; empty: it does not.
std::string table_of(const std::string& line) {
  std::string table;
  for (const char c : line) {
    if (c == '#') break;
    if (c != ' ' && c != '\t' && c != '\r') table += c;
  }
  return table.starts_with('[') && table.ends_with(']') ? table : "";
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(fmt::format("cannot read {}", path.string()));
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

void write_text(const fs::path& path, const std::string& text, mode_t mode) {
  const fs::path part = path.string() + fmt::format(".{}.part", getpid());
  {
    std::ofstream file(part, std::ios::binary);
    file << text;
    file.flush();
    if (!file) throw std::runtime_error(fmt::format("cannot write {}", part.string()));
  }
  chmod(part.c_str(), mode);
  fs::rename(part, path);
}

}  // namespace

fs::path config_file(const std::string& host, const fs::path& here) {
  if (host == "claude-desktop") {
#ifdef __APPLE__
    return home("Library/Application Support/Claude/claude_desktop_config.json");
#else
    const char* config = std::getenv("XDG_CONFIG_HOME");
    return config && *config == '/' ? fs::path(config) / "Claude/claude_desktop_config.json"
                                    : home(".config/Claude/claude_desktop_config.json");
#endif
  }
  if (host == "claude-code") return here / ".mcp.json";
  if (host == "vscode") return here / ".vscode/mcp.json";
  if (host == "codex") {
    const char* codex = std::getenv("CODEX_HOME");
    return codex && *codex ? fs::path(codex) / "config.toml" : home(".codex/config.toml");
  }
  if (host == "gemini") return home(".gemini/settings.json");
  return home(".cursor/mcp.json");
}

std::string merge_json(const std::string& text, const std::string& entry) {
  mcp::Json config = mcp::Json::object();
  if (text.find_first_not_of(" \t\r\n") != text.npos) {
    auto parsed = mcp::parse_json(text);
    if (!parsed || !parsed->is_object())
      throw std::invalid_argument(
          fmt::format("it is no plain JSON object ({}); add the entry by hand",
                      parsed ? "another value" : parsed.error().message));
    config = std::move(*parsed);
  }
  merge(config, mcp::Json::parse(entry), 2);
  return config.dump(2, ' ', false, mcp::Json::error_handler_t::replace) + "\n";
}

std::string merge_toml(const std::string& text, const std::string& entry) {
  const std::string table = table_of(lines_of(entry).front());
  const std::string quoted = table.substr(0, table.find('.') + 1) + '"' +
                             table.substr(table.find('.') + 1, table.size() - table.find('.') - 2) +
                             "\"]";
  std::string out;
  bool inside = false, placed = false;
  std::string kept;  // comments and blank lines that end the old table belong to the next one
  for (const std::string& line : lines_of(text)) {
    const std::string opened = table_of(line);
    if (!opened.empty()) {
      inside = !placed && (opened == table || opened == quoted);
      if (inside) {
        out += entry + "\n";
        placed = true;
        continue;
      }
      out += kept;
      kept.clear();
    }
    if (!inside) {
      out += line + "\n";
    } else if (line.find_first_not_of(" \t\r") == line.npos || line.starts_with('#')) {
      kept += line + "\n";
    } else {
      kept.clear();
    }
  }
  out += kept;
  if (placed) return out;
  if (!out.empty() && !out.ends_with("\n\n")) out += "\n";
  return out + entry + "\n";
}

Written write_entry(const std::string& host, const std::string& entry, const fs::path& here) {
  fs::path file = config_file(host, here);
  if (file.empty()) throw std::runtime_error("HOME is not set: nobody knows where the file lies");
  std::error_code error;
  if (fs::is_symlink(file, error)) file = fs::weakly_canonical(file);  // the link stays
  Written out{.file = file};
  std::string old;
  mode_t mode = 0600;
  if (struct stat info{}; stat(file.c_str(), &info) == 0) {
    old = read_text(file);
    mode = info.st_mode & 07777;
    out.backup =
        file.string() + fmt::format(".bak-{:%Y%m%d-%H%M%S}", fmt::localtime(std::time(nullptr)));
  }
  std::string text;
  try {
    text = host == "codex" ? merge_toml(old, entry) : merge_json(old, entry);
  } catch (const std::invalid_argument& e) {
    throw std::invalid_argument(fmt::format("{}: {}", file.string(), e.what()));
  }
  if (out.backup && text == old) return {.file = file, .backup = {}, .changed = false};
  fs::create_directories(file.parent_path());
  if (out.backup) write_text(*out.backup, old, mode);
  write_text(file, text, mode);
  return out;
}

}  // namespace gpumcp::cli
