#include "gpu_runtime/held_time.h"

namespace gpumcp::gpu_runtime {

void HeldTime::hold() {
  std::scoped_lock lock(mutex_);
  if (holders_++ == 0) since_ = clock_();
}

void HeldTime::release() {
  std::scoped_lock lock(mutex_);
  if (--holders_ == 0) total_ += clock_() - since_;
}

double HeldTime::seconds() const {
  std::scoped_lock lock(mutex_);
  SteadyTime::duration total = total_;
  if (holders_ > 0) total += clock_() - since_;
  return std::chrono::duration<double>(total).count();
}

}  // namespace gpumcp::gpu_runtime
