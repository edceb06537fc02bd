// gpumcp status: the workers of this user, their models and calls. Wakes nothing and keeps nothing
// awake.
#include <fmt/format.h>

#include "cli/command.h"
#include "sandbox/launcher.h"

namespace gpumcp::cli {
namespace {

std::string member(const mcp::Json& json, const char* key) {
  auto it = json.find(key);
  if (it == json.end()) return "?";
  if (it->is_number_float()) return fmt::format("{:.1f}", it->get<double>());
  return it->is_string() ? it->get<std::string>() : mcp::to_text(*it);
}

// Powers of ten, as --host-memory takes them.
std::string size(const mcp::Json& json, const char* key) {
  double value = json.contains(key) && json[key].is_number() ? json[key].get<double>() : 0;
  const char* units[] = {"bytes", "kB", "MB", "GB", "TB"};
  size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < std::size(units); ++unit) value /= 1000;
  return fmt::format("{:.{}f} {}", value, unit == 0 || value >= 99.95 ? 0 : 1, units[unit]);
}

void print_model(const mcp::Json& model) {
  const std::string name = member(model, "name");
  fmt::print(
      "  model {}  {}{}  {} on {}, {} in host memory  {} loads, {} wakes, {} unloads, last {} "
      "ms  {} calls, {} waiting\n",
      name.empty() ? member(model, "folder") : name, member(model, "state"),
      model.value("pinned", false) ? ", pinned" : "", size(model, "bytes"), member(model, "device"),
      size(model, "host_bytes"), member(model, "loads"), member(model, "wakes"),
      member(model, "unloads"), member(model, "last_load_ms"), member(model, "calls"),
      member(model, "queue_depth"));
}

void print_place(const std::string& place, const mcp::Json& held) {
  fmt::print("  memory {}: {} of {} for weights", place, size(held, "used"), size(held, "limit"));
  const char* separator = ": ";
  if (const auto holders = held.find("holders"); holders != held.end()) {
    for (auto& [name, bytes] : holders->items()) {
      fmt::print("{}{} {}", separator, name, size(*holders, name.c_str()));
      separator = ", ";
    }
  }
  fmt::print("\n");
}

void print_worker(const sandbox::RuntimeFolder& folder, const mcp::Json& status) {
  fmt::print("worker {}  sandbox {}  up {} s  idle {} of {} s  {} calls, {} fronts\n",
             member(status, "pid"), folder.key(), member(status, "uptime_s"),
             member(status, "idle_for_s"), member(status, "idle_s"),
             member(status, "calls_in_flight"), member(status, "connections"));
  fmt::print("  interfaces: {}\n", member(status, "interfaces"));
  for (auto& [key, value] : status.items()) {
    if (key == "models" && value.is_array()) {
      for (auto& model : value) print_model(model);
    } else if (key == "memory" && value.is_object()) {
      for (auto& [place, held] : value.items()) print_place(place, held);
    } else if (key == "process" && value.is_object()) {
      fmt::print("  process: {} in memory\n", size(value, "resident_bytes"));
    } else if (value.is_object()) {
      fmt::print("  {}: {}\n", key, mcp::to_text(value));
    }
  }
}

}  // namespace

Command status_command() {
  return {"status", "show the workers that run now, their models and calls",
          "  gpumcp status\n"
          "  gpumcp status --json",
          [](CLI::App& app, const std::vector<std::string>&) {
            auto json = std::make_shared<bool>(false);
            app.add_flag("--json", *json, "print everything as JSON");
            return [json]() -> int {
              mcp::Json all = mcp::Json::array();
              for (auto& folder : sandbox::RuntimeFolder::list()) {
                auto connection = folder.read_connection();
                if (!connection) continue;
                auto client = sandbox::connect_worker(*connection,
                                                      {.connect_timeout = std::chrono::seconds(3)});
                if (!client) continue;
                auto text =
                    (*client)->request("gpumcp/status", "", {.timeout = std::chrono::seconds(3)});
                if (!text) continue;
                mcp::Json status = mcp::Json::parse(*text);
                status.erase("_meta");
                status.erase("resultType");
                status["sandbox"] = folder.key();
                if (!*json) print_worker(folder, status);
                all.push_back(std::move(status));
              }
              if (*json)
                fmt::print("{}\n", all.dump(2));
              else if (all.empty())
                fmt::print("no worker runs; the first call starts one\n");
              return kOk;
            };
          }};
}

}  // namespace gpumcp::cli
