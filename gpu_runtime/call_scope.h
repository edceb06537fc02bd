#pragma once

// The call that the current thread serves: how it can end (a stop token, a deadline) and what it
// has cost so far. The host sets one around each tool handler; tokenizers and executors read limits
// from it and add to its usage. Belongs to the thread that made it and dies there; scopes nest, the
// innermost counts. Without a scope every part works just the same, without limits and without a
// record.
#include <chrono>
#include <optional>
#include <stop_token>
#include <string>

#include "gpu_runtime/export.h"
#include "gpu_runtime/usage.h"

namespace gpumcp::gpu_runtime {

using SteadyTime = std::chrono::steady_clock::time_point;

// How urgent a call is, as its interface declares it: a share of the device, not a right of way, so
// that none waits for ever. An interactive call counts a quarter of a normal one, a background call
// four times.
enum class Priority { background, normal, interactive };

struct CallLimits {
  std::stop_token stop;
  std::optional<SteadyTime> deadline;
  std::string caller;  // who asks: a session or client; the device is shared fairly between these
  Priority priority = Priority::normal;
};

class GPUMCP_RUNTIME_API CallScope {
 public:
  explicit CallScope(CallLimits limits = {});
  ~CallScope();
  CallScope(const CallScope&) = delete;
  CallScope& operator=(const CallScope&) = delete;

  // The innermost scope of this thread, or null.
  static CallScope* current() noexcept;
  static CallLimits current_limits();  // of current(), or no limits

  const CallLimits& limits() const { return limits_; }
  Usage& usage() { return usage_; }
  const Usage& usage() const { return usage_; }

 private:
  const CallLimits limits_;
  Usage usage_;
  CallScope* const outer_;
};

}  // namespace gpumcp::gpu_runtime
