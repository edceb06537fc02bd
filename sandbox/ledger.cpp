#include "sandbox/ledger.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <map>

namespace gpumcp::sandbox {
namespace {

double number_of(const mcp::Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_number() ? it->get<double>() : 0;
}

std::string text_in(const mcp::Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : std::string();
}

bool flag_in(const mcp::Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_boolean() && it->get<bool>();
}

// The length of what the calls cover, where they overlap counted once.
double covered(const std::vector<LedgerCall>& calls, double begin, double end) {
  std::vector<std::pair<double, double>> spans;
  for (const LedgerCall& call : calls) {
    const double from = std::max(call.begun, begin), to = std::min(call.ended, end);
    if (to > from) spans.emplace_back(from, to);
  }
  std::sort(spans.begin(), spans.end());
  double sum = 0, until = begin;
  for (const auto& [from, to] : spans) {
    sum += std::max(0.0, to - std::max(from, until));
    until = std::max(until, to);
  }
  return sum;
}

double milli(double seconds) { return std::round(seconds * 1000) / 1000; }

std::string money(double dollars) { return fmt::format("${:.4f}", dollars); }

}  // namespace

double ledger_now() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

mcp::Json ledger_line(const LedgerCall& call) {
  return {{"event", "call"},     {"tool", call.tool},       {"begun", call.begun},
          {"ended", call.ended}, {"queue_s", call.queue_s}, {"load_s", call.load_s},
          {"gpu_s", call.gpu_s}, {"held_s", call.held_s},   {"tokens", call.tokens},
          {"cold", call.cold},   {"failed", call.failed}};
}

mcp::Json ledger_line(const std::string& worker, double at, double held_s, bool left) {
  return {{"event", "worker"}, {"id", worker}, {"at", at}, {"held_s", held_s}, {"left", left}};
}

mcp::Json ledger_before_line(const std::string& worker, double held_s) {
  return {{"event", "before"}, {"id", worker}, {"held_s", held_s}};
}

void read_usage(std::string_view result, LedgerCall& call) {
  std::string_view meta, usage;
  mcp::split_object(result, [&](std::string_view key, std::string_view value) {
    if (key == "_meta" && value.starts_with('{')) meta = value;
    if (key == "isError") call.failed = value == "true";
  });
  if (meta.empty()) return;
  mcp::split_object(meta, [&](std::string_view key, std::string_view value) {
    if (key == "gpumcp/usage" && value.starts_with('{')) usage = value;
  });
  if (usage.empty()) return;
  const auto json = mcp::parse_json(usage);
  if (!json) return;
  call.queue_s = number_of(*json, "queue_ms") / 1000;
  call.load_s = number_of(*json, "load_ms") / 1000;
  call.gpu_s = number_of(*json, "gpu_ms") / 1000;
  call.held_s = number_of(*json, "gpu_held_s");
  call.tokens = static_cast<std::int64_t>(number_of(*json, "tokens"));
  call.cold = flag_in(*json, "cold");
}

void append_ledger(const std::filesystem::path& path, const mcp::Json& line) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return;
  const std::string text = mcp::to_text(line) + "\n";
  [[maybe_unused]] const auto n = ::write(fd, text.data(), text.size());
  ::close(fd);
}

Ledger Ledger::read(const std::filesystem::path& path) {
  Ledger out;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (auto json = mcp::parse_json(line); json && json->is_object()) out.add_line(*json);
  }
  return out;
}

void Ledger::add_line(const mcp::Json& line) {
  const std::string event = text_in(line, "event");
  if (event == "call") {
    calls_.push_back({.tool = text_in(line, "tool"),
                      .begun = number_of(line, "begun"),
                      .ended = number_of(line, "ended"),
                      .queue_s = number_of(line, "queue_s"),
                      .load_s = number_of(line, "load_s"),
                      .gpu_s = number_of(line, "gpu_s"),
                      .held_s = number_of(line, "held_s"),
                      .tokens = static_cast<std::int64_t>(number_of(line, "tokens")),
                      .cold = flag_in(line, "cold"),
                      .failed = flag_in(line, "failed")});
  } else if (event == "before") {
    before_.try_emplace(text_in(line, "id"), number_of(line, "held_s"));
  } else if (event == "worker") {
    const std::string id = text_in(line, "id");
    auto worker = std::find_if(workers_.begin(), workers_.end(),
                               [&](const LedgerWorker& one) { return one.id == id; });
    const double held_s = number_of(line, "held_s");
    if (worker == workers_.end()) {
      workers_.push_back({.id = id, .held_before_s = held_s});
      worker = std::prev(workers_.end());
    }
    // Several fronts may attach; the last word counts.
    worker->held_s = std::max(worker->held_s, held_s);
    worker->seen = std::max(worker->seen, number_of(line, "at"));
    worker->left = worker->left || flag_in(line, "left");
  }
}

LedgerSummary Ledger::summary(double begin, double end, std::optional<double> price) const {
  LedgerSummary out{.wall_s = std::max(0.0, end - begin), .price = price};
  std::map<std::string, std::size_t> tools;
  bool any_held = false;
  for (const LedgerCall& call : calls_) {
    ++out.calls;
    out.failed += call.failed ? 1 : 0;
    out.cold += call.cold ? 1 : 0;
    out.queue_s += call.queue_s;
    out.load_s += call.load_s;
    // Calls that rode in one batch each have all of its time, but only a part of the held time.
    out.busy_s += std::min(call.gpu_s, call.held_s);
    out.shares_s += call.held_s;
    out.tokens += call.tokens;
    any_held = any_held || call.held_s > 0;
    ++tools[call.tool];
  }
  for (const LedgerWorker& worker : workers_) {
    ++out.workers;
    // From the run's beginning, not from its first front: what was loaded for it idles until then.
    double before_s = worker.held_before_s;
    if (const auto known = before_.find(worker.id); known != before_.end()) {
      before_s = std::min(before_s, known->second);
      out.before_s += before_s;
    }
    double held_s = worker.held_s - before_s;
    if (!worker.left && any_held) {
      held_s += std::max(0.0, end - worker.seen);
      out.estimated = true;
    }
    out.held_s += std::max(0.0, held_s);
  }
  out.held_s = std::max(out.held_s, out.shares_s);
  out.idle_s = out.held_s - out.shares_s;
  out.calls_s = covered(calls_, begin, end);
  out.agent_s = out.wall_s - out.calls_s;
  out.tools.assign(tools.begin(), tools.end());
  std::stable_sort(out.tools.begin(), out.tools.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (price) {
    out.cost = out.held_s / 3600 * *price;
    out.always_on = std::max(out.wall_s, out.held_s) / 3600 * *price;
  }
  return out;
}

mcp::Json LedgerSummary::to_json() const {
  mcp::Json by_tool = mcp::Json::object();
  for (const auto& [name, count] : tools) by_tool[name] = count;
  mcp::Json out = {{"calls", calls},
                   {"failed", failed},
                   {"cold", cold},
                   {"tools", std::move(by_tool)},
                   {"tokens", tokens},
                   {"workers", workers},
                   {"wall_s", milli(wall_s)},
                   {"agent_s", milli(agent_s)},
                   {"calls_s", milli(calls_s)},
                   {"queue_s", milli(queue_s)},
                   {"load_s", milli(load_s)},
                   {"gpu_busy_s", milli(busy_s)},
                   {"gpu_held_s", milli(held_s)},
                   {"gpu_held_by_calls_s", milli(shares_s)},
                   {"gpu_idle_s", milli(idle_s)},
                   {"gpu_held_before_s", milli(before_s)},
                   {"estimated", estimated}};
  if (price) {
    out["price_per_hour"] = *price;
    out["cost"] = std::round(cost * 1e6) / 1e6;
    out["always_on_cost"] = std::round(always_on * 1e6) / 1e6;
  }
  return out;
}

std::string LedgerSummary::to_text() const {
  std::string names;
  for (const auto& [name, count] : tools)
    names += fmt::format("{}{} {}", names.empty() ? ": " : ", ", name, count);
  std::string out = fmt::format(
      "  calls       {}{}{}\n"
      "  wall time   {:.1f} s\n"
      "  agent       {:.1f} s   no call was in flight\n"
      "  in calls    {:.1f} s   queue {:.1f} s, load {:.1f} s\n"
      "  GPU busy    {:.2f} s\n"
      "  GPU held    {:.1f} s   by calls {:.1f} s, idle {:.1f} s{}\n",
      calls, failed ? fmt::format(" ({} failed)", failed) : "", names, wall_s, agent_s, calls_s,
      queue_s, load_s, busy_s, held_s, shares_s, idle_s,
      estimated ? "; a worker did not say when it left, so until now is assumed" : "");
  if (before_s > 0.05)
    out +=
        fmt::format("  before it   {:.1f} s   held by what was loaded before the run\n", before_s);
  if (price) {
    const double saved = always_on > 0 ? 100 * (1 - cost / always_on) : 0;
    out += fmt::format(
        "  cost        {}   at ${} an hour of GPU held\n"
        "  always on   {}   so {:.0f} % are saved\n",
        money(cost), *price, money(always_on), saved);
  }
  return out;
}

}  // namespace gpumcp::sandbox
