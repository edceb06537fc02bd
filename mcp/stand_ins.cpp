// The watch looks at all slots once a tick. It takes the duty of a run that it sees a second time,
// and sleeps while nothing runs: a run that finds it asleep wakes it. So on a busy server there is
// nothing to do for a run but two atomic operations.
#include "mcp/stand_ins.h"

#include <algorithm>
#include <system_error>
#include <tuple>

namespace gpumcp::mcp {
namespace {

constexpr auto kTick = std::chrono::milliseconds(1);
constexpr int kQuietTicks = 3;  // before the watch sleeps

// A slot's state: the number of its run, and one of these.
enum : uint64_t { kIdle = 0, kRunning = 1, kDeciding = 2, kGivenAway = 3, kMask = 3, kNext = 4 };

thread_local StandIns::Run* current = nullptr;

}  // namespace

void Pace::took(std::chrono::steady_clock::duration time) {
  // Concurrent calls may overwrite one another's verdict; the next ones set it right.
  constexpr auto relaxed = std::memory_order_relaxed;
  const int streak = streak_.load(relaxed), penalty = penalty_.load(relaxed);
  if (time < kQuick) {
    streak_.store(streak < kLong ? streak + 1 : kTrusted, relaxed);
    if (streak == kLong) penalty_.store(std::max(penalty / 2, kFirstPenalty), relaxed);
  } else if (time < kBlocked) {
    streak_.store(std::min(streak, 0), relaxed);
  } else {
    streak_.store(-penalty, relaxed);
    penalty_.store(std::min(penalty * 2, kMostPenalty), relaxed);
  }
}

// A peer on a stream has one thread that waits in serve(), and one of these.
StandIns::StandIns() : threads_({.max_threads = 4096, .max_queued = 0}) {}

StandIns::~StandIns() { stop(); }

void StandIns::stop() {
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (watch_.joinable()) watch_.join();
  threads_.stop();
}

StandIns::Run::Run(StandIns& owner, Duty& duty) : owner_(owner), duty_(duty) {
  // Threads begin at different slots, so that they seldom meet.
  static std::atomic<size_t> threads = 0;
  thread_local const size_t first = threads++;
  constexpr size_t kTries = 8;
  for (size_t i = first; i < first + kTries; ++i) {
    Slot& slot = owner.slots_[i % owner.slots_.size()];
    uint64_t state = slot.state.load(std::memory_order_relaxed);
    if ((state & kMask) != kIdle) continue;
    const uint64_t number = (state & ~uint64_t{kMask}) + kNext;
    if (!slot.state.compare_exchange_strong(state, number | kDeciding, std::memory_order_acquire))
      continue;
    slot.duty = &duty;
    slot.state.store(number | kRunning);
    slot_ = &slot;
    outer_ = std::exchange(current, this);
    break;
  }
  if (slot_ && owner.asleep_) owner.wake();
}

void StandIns::Run::end() {
  Slot* slot = std::exchange(slot_, nullptr);
  if (!slot) return;
  current = outer_;
  while (true) {
    uint64_t state = slot->state.load(std::memory_order_acquire);
    if ((state & kMask) == kDeciding) {
      std::this_thread::yield();
      continue;
    }
    duty_.given_away = (state & kMask) == kGivenAway;
    if (slot->state.compare_exchange_strong(state, state & ~uint64_t{kMask})) return;
  }
}

bool StandIns::runs_here() { return current != nullptr; }

bool StandIns::given_away() {
  return current && (current->slot_->state.load() & kMask) == kGivenAway;
}

void StandIns::about_to_wait() {
  if (!current) return;
  Slot& slot = *current->slot_;
  while (true) {
    const uint64_t state = slot.state.load();
    if ((state & kMask) == kRunning) current->owner_.give_away(slot, state);
    if ((state & kMask) != kDeciding) return;
    std::this_thread::yield();
  }
}

void StandIns::give_away(Slot& slot, uint64_t running) {
  const uint64_t number = running & ~uint64_t{kMask};
  uint64_t expected = running;
  if (!slot.state.compare_exchange_strong(expected, number | kDeciding)) return;
  const bool given = threads_.submit(slot.duty->perform);
  slot.state.store(number | (given ? kGivenAway : kRunning));
}

void StandIns::wake() {
  std::scoped_lock lock(mutex_);
  if (!asleep_ || stopping_) return;
  if (!watch_.joinable()) {
    try {
      watch_ = std::thread([this] { watch(); });
    } catch (const std::system_error&) {  // no thread now: the next run tries again
      return;
    }
  }
  asleep_ = false;
  changed_.notify_all();
}

void StandIns::watch() {
  std::array<uint64_t, std::tuple_size_v<decltype(slots_)>> seen{};
  int quiet = 0;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (quiet < kQuietTicks) {
      changed_.wait_for(lock, kTick, [&] { return stopping_; });
    } else {
      // Whoever begins a run after this sees it, or its run is seen below.
      asleep_ = true;
      bool running = false;
      for (Slot& slot : slots_) running |= (slot.state.load() & kMask) != kIdle;
      if (!running) changed_.wait(lock, [&] { return stopping_ || !asleep_; });
      asleep_ = false;
      quiet = 0;
    }
    lock.unlock();
    ++quiet;
    for (size_t i = 0; i < slots_.size(); ++i) {
      const uint64_t state = slots_[i].state.load(std::memory_order_acquire);
      const uint64_t before = std::exchange(seen[i], state);
      if (state != before || (state & kMask) == kRunning) quiet = 0;
      if (state == before && (state & kMask) == kRunning) give_away(slots_[i], state);
    }
    lock.lock();
  }
}

}  // namespace gpumcp::mcp
