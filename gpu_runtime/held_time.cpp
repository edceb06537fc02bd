#include "gpu_runtime/held_time.h"

namespace gpumcp::gpu_runtime {

void HeldTime::advance() const {
  const auto now = clock_();
  if (holders_ > 0) {
    total_ += now - at_;
    if (sharers_ > 0) each_ += std::chrono::duration<double>(now - at_) / sharers_;
  }
  at_ = now;
}

void HeldTime::hold() {
  std::scoped_lock lock(mutex_);
  advance();
  ++holders_;
}

void HeldTime::release() {
  std::scoped_lock lock(mutex_);
  advance();
  --holders_;
}

double HeldTime::seconds() const {
  std::scoped_lock lock(mutex_);
  advance();
  return std::chrono::duration<double>(total_).count();
}

HeldTime::Share::Share(HeldTime& held) : held_(held) {
  std::scoped_lock lock(held_.mutex_);
  held_.advance();
  ++held_.sharers_;
  begin_ = held_.each_;
}

HeldTime::Share::~Share() {
  std::scoped_lock lock(held_.mutex_);
  held_.advance();
  --held_.sharers_;
}

double HeldTime::Share::seconds() const {
  std::scoped_lock lock(held_.mutex_);
  held_.advance();
  return (held_.each_ - begin_).count();
}

}  // namespace gpumcp::gpu_runtime
