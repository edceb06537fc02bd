// Fair queueing: whose rows make up the next batch of a ModelExecutor.
#include <algorithm>
#include <queue>
#include <tuple>

#include "gpu_runtime/executor_parts.h"

namespace gpumcp::gpu_runtime {
namespace {

// What a token of such a call costs its caller.
double cost_factor(Priority priority) {
  switch (priority) {
    case Priority::interactive:
      return 0.25;
    case Priority::background:
      return 4;
    case Priority::normal:
      break;
  }
  return 1;
}

}  // namespace

// A newcomer begins where those stand that were last served: it owes nothing and is owed nothing.
// Called with mutex_ held, as is the next.
void ModelExecutor::start_clock(Call& call) {
  auto& caller = served_[call.limits.caller];
  if (!caller) caller = std::make_shared<double>(clock_);
  call.caller = caller;
  bool alone = true;
  for (const CallPtr& other : calls_) {
    if (other->caller != caller) continue;
    call.served = alone ? other->served : std::min(call.served, other->served);
    alone = false;
  }
  if (alone) *caller = std::max(*caller, clock_);
}

ModelExecutor::Batch ModelExecutor::take_batch() {
  // Whose turn it is: the caller that has had least, and of its calls the one that has had least.
  struct Turn {
    double served;
    std::size_t order, index;
    bool operator<(const Turn& other) const {  // the heap's top is the smallest
      return std::tie(other.served, other.order) < std::tie(served, order);
    }
  };
  struct Caller {
    double* served;
    std::priority_queue<Turn> calls;
  };
  std::vector<Caller> callers;
  std::unordered_map<double*, std::size_t> known;
  for (std::size_t i = 0; i < calls_.size(); ++i) {
    double* key = calls_[i]->caller.get();
    auto [at, added] = known.emplace(key, callers.size());
    if (added) callers.push_back({key, {}});
    callers[at->second].calls.push({calls_[i]->served, i, i});
  }
  std::priority_queue<Turn> turns;
  for (std::size_t i = 0; i < callers.size(); ++i) turns.push({*callers[i].served, i, i});

  Batch batch;
  std::vector<std::size_t> slice_of(calls_.size(), std::size_t(-1));
  std::int64_t room = options_.token_budget;
  const auto now = ExecutorClock::now();
  while (room > 0 && !turns.empty()) {
    const Turn turn = turns.top();
    turns.pop();
    Caller& caller = callers[turn.index];
    const Turn chosen = caller.calls.top();
    caller.calls.pop();
    const CallPtr& call = calls_[chosen.index];
    const std::int64_t length = row_length(call->rows[call->next_row]);
    if (length <= room || batch.slices.empty()) {
      if (!call->started) {
        call->started = true;
        call->result.load_ms = executor_ms(call->submitted, loaded_at_);
        call->result.queue_ms = executor_ms(call->submitted, now) - call->result.load_ms;
      }
      std::size_t& slice = slice_of[chosen.index];
      if (slice == std::size_t(-1)) {
        slice = batch.slices.size();
        batch.slices.push_back({call, call->next_row, call->next_row});
      }
      batch.slices[slice].end = ++call->next_row;
      const double cost = static_cast<double>(std::max<std::int64_t>(1, length)) *
                          cost_factor(call->limits.priority);
      clock_ = std::max(clock_, *caller.served);
      *caller.served += cost;
      call->served += cost;
      room -= length;
      stats_.waiting_tokens -= length;
      if (call->next_row < call->rows.size())
        caller.calls.push({call->served, chosen.order, chosen.index});
    }  // else it has no turn any more in this batch, and the first in the next
    if (!caller.calls.empty()) turns.push({*caller.served, turn.order, turn.index});
  }
  std::erase_if(calls_, [](const CallPtr& call) { return call->next_row == call->rows.size(); });
  if (calls_.empty()) {  // nobody is behind anybody
    served_.clear();
    clock_ = 0;
  } else if (served_.size() > 2 * options_.max_waiting_calls) {
    std::erase_if(served_, [&](const auto& one) { return *one.second <= clock_; });
  }
  return batch;
}

}  // namespace gpumcp::gpu_runtime
