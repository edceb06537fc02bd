// ToolGuard: what a worker sees to in each tool call, whatever interface it is of: that no word
// that agents must not see leaves in results, errors, progress or logs (hidden models' names,
// secrets' values), and that a call which may take so long is asked to end then. One that does not
// is reported (`on_late`), so that its caller gets an answer and the worker may be replaced.
//
//   call ─▶ handler ─▶ result
//             └─ its time is over ─▶ its stop token ─ still there after the grace ─▶ on_late
//
// Owned by the worker, and outlives its calls. Thread-safe once words are set.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "mcp/registry.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

// A front's own name for a call, and the notification {"call"} by which it hears that one's time is
// over and it does not end.
inline constexpr const char* kCallMeta = "gpumcp/call";
inline constexpr const char* kLateNotification = "notifications/gpumcp/late";
// "NAME failed: it took longer than the 3 s that a call may take".
std::string late_text(const std::string& tool, double limit_s);

struct HiddenWord {
  std::string word, instead;
};
// What a sandbox's agents must not see: its hidden models' names and folders, by which "model" is
// said, and the values of its secrets. The longest first, so that none is left of another.
std::vector<HiddenWord> hidden_words(const SandboxConfig& config);

class ToolGuard {
 public:
  // `grace`: from a call's stop to on_late, which gets its kCallMeta.
  ToolGuard(std::chrono::milliseconds grace, std::function<void(const std::string& call)> on_late);
  ~ToolGuard();
  ToolGuard(const ToolGuard&) = delete;
  ToolGuard& operator=(const ToolGuard&) = delete;

  void set_words(std::vector<HiddenWord> words) { words_ = std::move(words); }
  // For tools that are wrapped from now on: their interface keeps calls' time itself.
  void keeps_time(bool itself) { keeps_time_ = itself; }

  mcp::ToolHandler wrap(mcp::ToolHandler handler);
  std::string hide(std::string text) const;
  mcp::Json hide_in(mcp::Json json) const;

 private:
  struct Timed;
  class Guarded;
  using Clock = std::chrono::steady_clock;

  mcp::CallToolResult run(const mcp::ToolHandler& handler, bool timed, const mcp::Json& arguments,
                          mcp::Context& context);
  // A time and, since several may be due at once, a number.
  using Due = std::pair<Clock::time_point, uint64_t>;
  Due at(Clock::time_point when, std::function<void()> what);
  void forget(const Due& due);
  void keep_time();

  const std::chrono::milliseconds grace_;
  const std::function<void(const std::string&)> on_late_;
  std::vector<HiddenWord> words_;
  bool keeps_time_ = false;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::map<Due, std::function<void()>> due_;
  uint64_t next_due_ = 0;
  bool ending_ = false;
  std::thread thread_;  // from the first call on that has a limit
};

}  // namespace gpumcp::sandbox
