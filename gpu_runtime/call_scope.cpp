#include "gpu_runtime/call_scope.h"

#include <utility>

namespace gpumcp::gpu_runtime {
namespace {

thread_local CallScope* innermost = nullptr;

}  // namespace

CallScope::CallScope(CallLimits limits) : limits_(std::move(limits)), outer_(innermost) {
  innermost = this;
}

CallScope::~CallScope() { innermost = outer_; }

CallScope* CallScope::current() noexcept { return innermost; }

CallLimits CallScope::current_limits() {
  return innermost != nullptr ? innermost->limits_ : CallLimits{};
}

}  // namespace gpumcp::gpu_runtime
