#pragma once

// How long any model's weights have been held, all models together: what a GPU is paid for. A
// call's Share of it is the held time while the call ran, divided equally among the calls that ran
// at the same time; so shares add up to the held time in which anything ran, and what is left of
// seconds() was idling. One for a process: native and Python interfaces of a worker hold the same
// (share_held_time). Thread-safe.
#include <chrono>
#include <functional>
#include <mutex>

namespace gpumcp::gpu_runtime {

using SteadyClock = std::function<std::chrono::steady_clock::time_point()>;

class HeldTime {
 public:
  explicit HeldTime(SteadyClock clock = [] { return std::chrono::steady_clock::now(); })
      : clock_(std::move(clock)) {}
  void hold();
  void release();
  double seconds() const;

  // A call, from construction to destruction. The HeldTime outlives it.
  class Share {
   public:
    explicit Share(HeldTime& held);
    ~Share();
    Share(const Share&) = delete;
    Share& operator=(const Share&) = delete;
    double seconds() const;  // so far

   private:
    HeldTime& held_;
    std::chrono::duration<double> begin_{};
  };

 private:
  void advance() const;  // with mutex_ held

  const SteadyClock clock_;
  mutable std::mutex mutex_;
  // Guarded by mutex_:
  int holders_ = 0, sharers_ = 0;
  mutable std::chrono::steady_clock::time_point at_{};  // until when the next two count
  mutable std::chrono::steady_clock::duration total_{};
  mutable std::chrono::duration<double> each_{};  // what one call got that was there from the start
};

}  // namespace gpumcp::gpu_runtime
