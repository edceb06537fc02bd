// StandIns: lets a thread that others rely on (it reads a peer's messages, or waits on a
// connection) run a quick handler itself, which spares two wake-ups a call. A handler that turns
// out not to be quick does not keep the thread's duty waiting: another thread stands in.
//
//   thread   begin(duty) ── handler ──────────────── end(): go on
//   watch                      └─ 1 to 2 ms later ─▶ a stand-in runs the duty; end(): it is given
//   away
//
// Which handlers are quick is known from their last calls (Pace); the first ones run on the pool.
// Thread-safe. stop() and destruction wait for the stand-ins. Private to mcp.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "mcp/thread_pool.h"

namespace gpumcp::mcp {

// How long one handler takes. Thread-safe.
class Pace {
 public:
  // All of its last calls took less than kQuick.
  bool quick() const { return streak_.load(std::memory_order_relaxed) >= kTrusted; }
  void took(std::chrono::steady_clock::duration time);

  // About what the two wake-ups cost that are spared.
  static constexpr auto kQuick = std::chrono::microseconds(100);

 private:
  // A call that blocks costs others a millisecond or two. On a busy machine any may seem to, so one
  // is soon forgiven; for a handler that goes on blocking it takes more and more quick calls.
  static constexpr int kTrusted = 4, kLong = 256, kFirstPenalty = 8, kMostPenalty = 1024;
  static constexpr auto kBlocked = std::chrono::milliseconds(1);
  std::atomic<int> streak_ = 0;  // of quick calls; below zero: so many more are wanted
  std::atomic<int> penalty_ = kFirstPenalty;
};

class StandIns {
 public:
  // What a thread owes. `perform` does it on another thread, to its end, and may be copied there.
  struct Duty {
    std::function<void()> perform;
    bool given_away = false;  // by end(): the thread must leave it alone
    bool missed = false;      // a quick handler could not run on this thread
    bool movable = true;      // false: no handler runs on this thread, but `missed` is told
  };

  StandIns();
  ~StandIns();
  StandIns(const StandIns&) = delete;
  StandIns& operator=(const StandIns&) = delete;

  // Runs a duty on a thread of its own for good. False: there is none.
  bool start(const Duty& duty) { return threads_.submit(duty.perform); }
  void stop();

  struct alignas(64) Slot {
    std::atomic<uint64_t> state = 0;
    Duty* duty = nullptr;
  };
  // One handler's run, on the stack of the thread that runs it.
  class Run {
   public:
    Run(StandIns& owner, Duty& duty);
    ~Run() { end(); }
    Run(const Run&) = delete;
    Run& operator=(const Run&) = delete;
    explicit operator bool() const { return slot_ != nullptr; }  // false: run it elsewhere
    void end();                                                  // once; sets duty.given_away

   private:
    friend class StandIns;
    StandIns& owner_;
    Duty& duty_;
    Slot* slot_ = nullptr;
    Run* outer_ = nullptr;
  };

  // This thread runs a handler so.
  static bool runs_here();
  // The same, and its duty has been given away.
  static bool given_away();
  // The handler is about to wait for others: gives the duty away now.
  static void about_to_wait();

 private:
  void watch();
  void give_away(Slot& slot, uint64_t running);
  void wake();

  std::array<Slot, 64> slots_;  // as many handlers run so at once
  ThreadPool threads_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::atomic<bool> asleep_ = true;
  bool stopping_ = false;
  std::thread watch_;
};

}  // namespace gpumcp::mcp
