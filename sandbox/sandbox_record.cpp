#include "sandbox/sandbox_record.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "sandbox/files.h"
#include "sandbox/manifest.h"

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::ErrorCode;
using mcp::fail;
namespace {

fs::path records_folder() { return cache_folder() / "sandboxes"; }

std::optional<SandboxRecord> read_record(const std::string& name) {
  const auto json = mcp::parse_json(read_file(record_path(name)));
  if (!json || !json->is_object()) return std::nullopt;
  try {
    return SandboxRecord{.name = name,
                         .config = SandboxConfig::from_json(json->at("config")),
                         .owner = json->value("owner", 0),
                         .owner_began = json->value("owner_began", "")};
  } catch (const std::exception&) {
    return std::nullopt;  // of another version
  }
}

bool abandoned(const SandboxRecord& record) {
  return record.owner != 0 && process_began(record.owner) != record.owner_began;
}

}  // namespace

fs::path record_path(const std::string& name) { return records_folder() / (name + ".json"); }

std::string process_began(int pid) {
  const std::string stat = read_file(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = stat.rfind(')');  // the name before may hold anything
  if (name_end == stat.npos) return {};
  if (stat.compare(name_end, 3, ") Z") == 0) return {};  // it ended; only its parent must hear so
  size_t at = name_end + 1;
  for (int field = 3; field < 22 && at != stat.npos; ++field) at = stat.find(' ', at + 1);
  if (at == stat.npos) return {};
  return stat.substr(at + 1, stat.find(' ', at + 1) - at - 1);
}

std::string check_sandbox_name(const std::string& name) {
  const auto fine = [](unsigned char c) {
    return c < 128 && (std::isalnum(c) || std::strchr("._-", c));
  };
  if (!name.empty() && name.size() <= 64 && std::isalnum(static_cast<unsigned char>(name[0])) &&
      std::all_of(name.begin(), name.end(), fine))
    return {};
  return fmt::format(
      "a sandbox cannot be named \"{}\": 1 to 64 letters, digits, '.', '_' and '-' make a name, "
      "which begins with a letter or a digit",
      name);
}

mcp::Result<void> save_record(const SandboxRecord& record) {
  const fs::path file = record_path(record.name);
  const fs::path fresh = fmt::format("{}.{}", file.string(), getpid());
  std::error_code error;
  fs::create_directories(records_folder(), error);
  chmod(records_folder().c_str(), 0700);
  mcp::Json config = record.config.to_json();
  if (!record.config.fixed_key.empty()) config["key"] = record.config.fixed_key;
  const std::string text = mcp::to_text({{"config", std::move(config)},
                                         {"owner", record.owner},
                                         {"owner_began", record.owner_began}}) +
                           "\n";
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
  const bool ok =
      fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int why = errno;
  if (fd >= 0) ::close(fd);
  if (ok && ::rename(fresh.c_str(), file.c_str()) == 0) return {};
  ::unlink(fresh.c_str());
  return fail(ErrorCode::io_error,
              fmt::format("cannot write {}: {}", file.string(), std::strerror(ok ? errno : why)));
}

mcp::Result<SandboxRecord> load_record(const std::string& name) {
  if (std::string problem = check_sandbox_name(name); !problem.empty())
    return fail(ErrorCode::invalid_params, problem);
  if (auto record = read_record(name)) {
    if (!abandoned(*record)) return std::move(*record);
    remove_record(name);
  }
  std::string known;
  for (auto& one : list_records()) known += (known.empty() ? "" : ", ") + one;
  return fail(ErrorCode::invalid_params,
              fmt::format("there is no sandbox {}; there {}", name,
                          known.empty() ? "are none: a program starts one (ScopedSandbox)"
                                        : "are: " + known));
}

std::vector<std::string> list_records() {
  std::vector<std::string> out;
  std::error_code ignored;
  for (auto& entry : fs::directory_iterator(records_folder(), ignored)) {
    if (entry.path().extension() != ".json") continue;
    const std::string name = entry.path().stem().string();
    const auto record = read_record(name);
    if (!record || abandoned(*record))
      remove_record(name);
    else
      out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

void remove_record(const std::string& name) { ::unlink(record_path(name).c_str()); }

}  // namespace gpumcp::sandbox
