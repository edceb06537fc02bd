#include "gpu_runtime/model_executor.h"

#include <algorithm>

#include "gpu_runtime/executor_parts.h"

namespace gpumcp::gpu_runtime {
namespace {

// Its name in messages is the model's.
GenerationQueueOptions generation_options(const ModelExecutorOptions& options) {
  GenerationQueueOptions out = options.generation;
  out.name = options.name;
  return out;
}

}  // namespace

ModelExecutor::ModelExecutor(MakeModel make_model, ModelExecutorOptions options)
    : options_(std::move(options)),
      make_model_(std::move(make_model)),
      generations_(generation_options(options_),
                   [this] {
                     {
                       std::scoped_lock lock(mutex_);
                       ++arrivals_;
                     }  // the owner thread is in wait() or before
                     work_.notify_all();
                   }),
      owner_([this] { owner_loop(); }) {}

ModelExecutor::~ModelExecutor() {
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
    ++arrivals_;
  }
  work_.notify_all();
  owner_.join();
}

bool ModelExecutor::loaded() const {
  std::scoped_lock lock(mutex_);
  return loaded_;
}

bool ModelExecutor::loading() const {
  std::scoped_lock lock(mutex_);
  return loading_;
}

bool ModelExecutor::load_failed() const {
  std::scoped_lock lock(mutex_);
  return load_error_ != nullptr;
}

double ModelExecutor::load_ms() const {
  std::scoped_lock lock(mutex_);
  return loaded_ ? executor_ms(load_began_, loaded_at_) : 0;
}

ExecutorStats ModelExecutor::stats() const {
  std::scoped_lock lock(mutex_);
  ExecutorStats stats = stats_;
  stats.waiting_calls = calls_.size();
  return stats;
}

// Called with mutex_ held.
std::string ModelExecutor::busy_message() const {
  std::string message = "model " + options_.name + " is busy: " + std::to_string(calls_.size()) +
                        " calls with " + std::to_string(stats_.waiting_tokens) +
                        " tokens are waiting; try again in about ";
  const double wait_ms = stats_.tokens > 0 ? stats_.busy_ms / static_cast<double>(stats_.tokens) *
                                                 static_cast<double>(stats_.waiting_tokens)
                                           : 1000;
  return message +
         std::to_string(
             std::max<std::int64_t>(1, static_cast<std::int64_t>(wait_ms / 1000 + 0.5))) +
         " s";
}

ModelResult ModelExecutor::run(std::vector<TokenRow> rows, const Want& want,
                               const CallLimits& limits) {
  if (rows.empty()) return {};
  if (limits.stop.stop_requested()) throw Error(ErrorCode::cancelled, "the call was cancelled");
  auto call = std::make_shared<Call>();
  std::int64_t tokens = 0;
  for (const TokenRow& row : rows) tokens += row_length(row);
  call->rows_left = rows.size();
  call->result.rows.resize(rows.size());
  call->result.tokens = tokens;
  call->rows = std::move(rows);
  call->want = want;
  call->limits = limits;
  call->submitted = ExecutorClock::now();
  // Before the lock, so that it is gone after the lock is: its destructor waits for a callback that
  // wants the mutex.
  std::stop_callback wake(limits.stop, [this, &call] {
    std::scoped_lock lock(mutex_);
    call->done_cv.notify_all();
  });
  std::unique_lock lock(mutex_);
  if (load_error_) std::rethrow_exception(load_error_);
  // A single call of any size is let in when nothing waits: the limit is on what piles up.
  if (calls_.size() >= options_.max_waiting_calls ||
      (!calls_.empty() && stats_.waiting_tokens + tokens > options_.max_waiting_tokens)) {
    ++stats_.refused;
    throw Error(ErrorCode::overloaded, busy_message());
  }
  start_clock(*call);
  calls_.push_back(call);
  ++arrivals_;
  stats_.waiting_tokens += tokens;
  work_.notify_one();
  auto over = [&] { return call->done || limits.stop.stop_requested(); };
  if (limits.deadline) {
    call->done_cv.wait_until(lock, *limits.deadline, over);
  } else {
    call->done_cv.wait(lock, over);
  }
  if (!call->done) {
    call->ended = true;  // the owner thread drops what no batch has taken, and forgets the rest
    const bool stopped = limits.stop.stop_requested();
    throw Error(stopped ? ErrorCode::cancelled : ErrorCode::deadline,
                stopped ? "the call was cancelled"
                        : "the call's deadline passed while it waited for model " + options_.name);
  }
  if (call->error) std::rethrow_exception(call->error);
  return std::move(call->result);
}

// Whether somebody waits for the call. Any thread.
bool ModelExecutor::wanted(const CallPtr& call) const {
  return !call->ended && !call->limits.stop.stop_requested() &&
         !(call->limits.deadline && *call->limits.deadline <= ExecutorClock::now());
}

bool ModelExecutor::nothing_to_do() const {
  std::scoped_lock lock(mutex_);
  return !stopping_ && calls_.empty() && !generations_.has_work();
}

bool ModelExecutor::anyone_waits() {
  std::scoped_lock lock(mutex_);
  return !stopping_ && (generations_.wanted() ||
                        std::any_of(calls_.begin(), calls_.end(), [&](const CallPtr& call) {
                          return !call->done && wanted(call);
                        }));
}

// Called with mutex_ held, as are the next two.
void ModelExecutor::finish(const CallPtr& call, std::exception_ptr error) {
  call->error = std::move(error);
  call->done = true;
  call->done_cv.notify_all();
}

void ModelExecutor::end_all(std::exception_ptr error) {
  for (const CallPtr& call : calls_) {
    if (!call->done) finish(call, error);
  }
  calls_.clear();
  stats_.waiting_tokens = 0;
}

void ModelExecutor::drop_ended_calls() {
  const auto now = ExecutorClock::now();
  std::erase_if(calls_, [&](const CallPtr& call) {
    const bool late = call->limits.deadline && *call->limits.deadline <= now;
    const bool left = call->ended || call->limits.stop.stop_requested();
    if (!left && !late && !call->done) return false;
    for (std::size_t i = call->next_row; i < call->rows.size(); ++i)
      stats_.waiting_tokens -= row_length(call->rows[i]);
    if (!call->done) {
      ++stats_.dropped;
      finish(call, left ? executor_error(ErrorCode::cancelled, "the call was cancelled")
                        : executor_error(ErrorCode::deadline,
                                         "the call's deadline passed while it waited for model " +
                                             options_.name));
    }
    return true;
  });
}

}  // namespace gpumcp::gpu_runtime
