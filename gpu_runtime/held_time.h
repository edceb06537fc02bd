#pragma once

// How long any model's weights have been held, all models together: what a GPU is paid for.
// Thread-safe.
#include <chrono>
#include <functional>
#include <mutex>

#include "gpu_runtime/call_scope.h"

namespace gpumcp::gpu_runtime {

using SteadyClock = std::function<SteadyTime()>;

class HeldTime {
 public:
  explicit HeldTime(SteadyClock clock) : clock_(std::move(clock)) {}
  void hold();
  void release();
  double seconds() const;

 private:
  const SteadyClock clock_;
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  int holders_ = 0;
  SteadyTime since_{};
  SteadyTime::duration total_{};
};

}  // namespace gpumcp::gpu_runtime
