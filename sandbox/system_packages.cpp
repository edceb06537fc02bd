#include "sandbox/system_packages.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "sandbox/subprocess.h"

namespace gpumcp::sandbox {
using mcp::ErrorCode;
using mcp::fail;
namespace {

using Words = std::vector<std::string>;

// A package manager: how it is asked after one package, and how it installs.
struct PackageManager {
  Words query;       // and the name
  Words refresh;     // before installing; may be empty
  Words install;     // and the names
  bool says_status;  // the query prints "installed VERSION"; else its exit code answers
};

const PackageManager kManagers[] = {
    {{"dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}\n", "--"},
     {"apt-get", "-q", "-o", "DPkg::Lock::Timeout=600", "update"},
     {"apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=600", "--no-install-recommends", "install",
      "--"},
     true},
    {{"rpm", "-q", "--whatprovides", "--"}, {}, {"dnf", "-q", "-y", "install", "--"}, false},
};

Words joined_words(Words words, const Words& more) {
  words.insert(words.end(), more.begin(), more.end());
  return words;
}

// nullopt: this manager is not on the machine.
std::optional<bool> is_installed(const PackageManager& manager, const std::string& package) {
  const size_t equals = manager.says_status ? package.find('=') : package.npos;
  const auto asked = run_captured(joined_words(manager.query, {package.substr(0, equals)}));
  if (!asked) return std::nullopt;
  if (!manager.says_status) return asked->code == 0;
  // Of several architectures a line each.
  std::string_view lines = asked->out;
  const std::string wanted =
      equals == package.npos ? "installed " : "installed " + package.substr(equals + 1) + "\n";
  return lines.starts_with(wanted) || lines.find("\n" + wanted) != lines.npos;
}

std::string tail_of(const std::string& text) {
  std::string out = text.size() > 600 ? "…" + text.substr(text.size() - 600) : text;
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

}  // namespace

std::string system_package_problem(const std::string& name) {
  const auto fine = [](unsigned char c) {
    return c < 128 && (std::isalnum(c) || std::string_view("+._:=~-").find(static_cast<char>(c)) !=
                                              std::string_view::npos);
  };
  if (!name.empty() && name.size() <= 200 && std::isalnum(static_cast<unsigned char>(name[0])) &&
      std::all_of(name.begin(), name.end(), fine))
    return {};
  return fmt::format(
      "system package \"{}\": expected a name as the package manager has it, of letters, digits "
      "and "
      "+ - . _, or NAME=VERSION",
      name);
}

mcp::Result<void> ensure_system_packages(const Words& names, bool may_install,
                                         const std::function<void(std::string_view)>& on_progress) {
  if (names.empty()) return {};
  const std::string all = fmt::format("{}", fmt::join(names, ", "));
  const PackageManager* found = nullptr;
  Words missing;
  for (const PackageManager& manager : kManagers) {
    missing.clear();
    bool there = true;
    for (const std::string& name : names) {
      const auto installed = is_installed(manager, name);
      there = installed.has_value();
      if (!there) break;
      if (!*installed) missing.push_back(name);
    }
    if (!there) continue;
    found = &manager;
    break;
  }
  if (!found)
    return fail(ErrorCode::io_error,
                fmt::format("system_packages {}: this machine has neither dpkg nor rpm to ask; "
                            "install them by its own means, and leave them out here",
                            all));
  if (missing.empty()) return {};
  const std::string list = fmt::format("{}", fmt::join(missing, ", "));
  const Words command = joined_words(found->install, missing);
  const std::string by_hand =
      fmt::format("sudo {} install {}", found->install.front(), fmt::join(missing, " "));
  if (!may_install)
    return fail(ErrorCode::io_error,
                fmt::format("the system packages {} are missing on the machine where the worker "
                            "runs, and it is not root: install them there: {}",
                            list, by_hand));
  const auto run = [&](const Words& words) -> mcp::Result<void> {
    auto done = run_captured(
        words,
        {.on_line =
             [&](std::string_view line) {
               if (!line.empty())
                 on_progress(fmt::format("installing {}: {}", list, line.substr(0, 200)));
             },
         .spawn = {.environment = mcp::environment_with({{"DEBIAN_FRONTEND", "noninteractive"}})}});
    if (!done) return tl::unexpected(std::move(done.error()));
    if (done->code == 0) return {};
    return fail(ErrorCode::io_error,
                fmt::format("{} ended with code {}: {}", words.front(), done->code,
                            tail_of(done->err.empty() ? done->out : done->err)));
  };
  on_progress(fmt::format("installing {}", list));
  // Lists that are out of date may do; what cannot be installed is told by installing.
  auto refreshed = found->refresh.empty() ? mcp::Result<void>() : run(found->refresh);
  if (auto installed = run(command); !installed)
    return fail(
        ErrorCode::io_error,
        fmt::format("the system packages {} could not be installed: {}{}; by hand: {}", list,
                    installed.error().message,
                    refreshed ? "" : fmt::format(" (and {})", refreshed.error().message), by_hand));
  return {};
}

}  // namespace gpumcp::sandbox
