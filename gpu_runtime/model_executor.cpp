#include "gpu_runtime/model_executor.h"

#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <optional>
#include <queue>
#include <tuple>
#include <utility>

#include "gpu_runtime/device.h"
#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

using Clock = std::chrono::steady_clock;

double ms_between(Clock::time_point a, Clock::time_point b) {
  return std::max(0.0, std::chrono::duration<double, std::milli>(b - a).count());
}

std::int64_t length_of(const TokenRow& row) { return static_cast<std::int64_t>(row.ids.size()); }

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

std::exception_ptr error_of(ErrorCode code, const std::string& message) {
  return std::make_exception_ptr(Error(code, message));
}

// Its name in messages is the model's.
GenerationQueueOptions generation_options(const ModelExecutorOptions& options) {
  GenerationQueueOptions out = options.generation;
  out.name = options.name;
  return out;
}

}  // namespace

PendingBatch::~PendingBatch() = default;
BatchModel::~BatchModel() = default;

std::unique_ptr<PendingBatch> BatchModel::start(std::span<const BatchRow> rows,
                                                const StillWanted& wanted) {
  run(rows, wanted);
  return nullptr;
}

// One run(). The caller waits on `done_cv`; the owner thread fills result.rows of the rows in
// flight.
struct ModelExecutor::Call {
  std::vector<TokenRow> rows;
  Want want;
  CallLimits limits;
  ModelResult result;
  Clock::time_point submitted;
  std::atomic<bool> ended = false;  // the caller no longer waits; written under the lock

  // Guarded by the executor's mutex_:
  std::size_t next_row = 0;        // the first that no batch has taken
  std::size_t rows_left = 0;       // not yet run
  std::shared_ptr<double> caller;  // what its caller has had, in served_
  double served = 0;               // of that, what this call has had
  bool started = false, done = false;
  std::exception_ptr error;
  std::condition_variable done_cv;
};

// A call's rows in one batch: consecutive, and one slice a call.
struct ModelExecutor::Slice {
  CallPtr call;
  std::size_t begin = 0, end = 0;
};

// A batch on its way: `rows` point into the calls, `pending` is what the device still works on.
struct ModelExecutor::Batch {
  std::vector<Slice> slices;
  std::vector<BatchRow> rows;
  std::unique_ptr<PendingBatch> pending;
  std::exception_ptr error;
  Clock::time_point began;
  double device_ms = 0;
};

std::exception_ptr current_error(const std::string& doing) {
  try {
    throw;
  } catch (const Error&) {
    return std::current_exception();
  } catch (const c10::OutOfMemoryError& e) {
    return error_of(ErrorCode::out_of_memory, doing + ": the device's memory does not suffice: " +
                                                  e.what_without_backtrace());
  } catch (const c10::Error& e) {
    return error_of(ErrorCode::internal, doing + ": torch says: " + e.what_without_backtrace());
  } catch (const std::bad_alloc&) {
    return error_of(ErrorCode::out_of_memory, doing + ": host memory does not suffice");
  } catch (const std::exception& e) {
    return error_of(ErrorCode::internal, doing + ": " + e.what());
  } catch (...) {
    return error_of(ErrorCode::internal, doing + ": an exception of unknown type");
  }
}

ErrorCode code_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return e.code();
  } catch (...) {
    return ErrorCode::internal;
  }
}

std::string message_of(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    return e.what();
  } catch (...) {
    return "an exception of unknown type";
  }
}

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
  return loaded_ ? ms_between(load_began_, loaded_at_) : 0;
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
  for (const TokenRow& row : rows) tokens += length_of(row);
  call->rows_left = rows.size();
  call->result.rows.resize(rows.size());
  call->result.tokens = tokens;
  call->rows = std::move(rows);
  call->want = want;
  call->limits = limits;
  call->submitted = Clock::now();
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

void ModelExecutor::owner_loop() {
  c10::InferenceMode inference;  // of this thread: weights and activations carry no autograd state
  while (!model_) {
    {
      std::unique_lock lock(mutex_);
      work_.wait(lock, [&] { return stopping_ || !calls_.empty() || generations_.wanted(); });
      if (stopping_) break;
      drop_ended_calls();
      if (calls_.empty() && !generations_.wanted()) continue;
    }
    if (!load()) break;
  }
  if (model_) generations_.open(model_->decoder());
  std::unique_ptr<Batch> running;  // on the device
  while (model_) {
    // A device is waited for as it waits itself, by looking: it may be done in microseconds.
    if (running) {
      const std::uint64_t seen = arrivals_;
      if (nothing_to_do()) {
        while (!running->pending->done() && arrivals_ == seen) std::this_thread::yield();
      }
    }
    Batch next;
    {
      std::unique_lock lock(mutex_);
      if (!running) {
        work_.wait(lock, [&] { return stopping_ || !calls_.empty() || generations_.has_work(); });
      }
      if (stopping_) break;
      drop_ended_calls();
      next = take_batch();
    }
    if (!next.slices.empty()) begin(next);
    if (running) {
      complete(*running);
      running.reset();
    }
    if (next.pending) {
      running = std::make_unique<Batch>(std::move(next));
    } else if (!next.slices.empty()) {
      complete(next);
    }
    if (generations_.has_work()) generations_.step();
  }
  if (running) complete(*running);
  std::exception_ptr error;
  {
    std::scoped_lock lock(mutex_);
    error = load_error_
                ? load_error_
                : error_of(ErrorCode::cancelled, "model " + options_.name + " is being stopped");
    end_all(error);
  }
  generations_.close(error);
  model_.reset();
}

// False: it failed, for good. Without a model and true: nobody wanted it any more.
bool ModelExecutor::load() {
  {
    std::scoped_lock lock(mutex_);
    loading_ = true;
    load_began_ = Clock::now();
  }
  std::exception_ptr error;
  bool unwanted = false;
  try {
    set_cpu_threads(options_.num_threads);
    model_ = make_model_([&] {
      unwanted = !anyone_waits();
      return !unwanted;
    });
  } catch (...) {
    error = current_error("loading model " + options_.name);
  }
  std::scoped_lock lock(mutex_);
  loading_ = false;
  loaded_at_ = Clock::now();
  if (error && unwanted && code_of(error) == ErrorCode::cancelled) return true;
  loaded_ = !error;
  load_error_ = error;
  return !error;
}

// Whether somebody waits for the call. Any thread.
bool ModelExecutor::wanted(const CallPtr& call) const {
  return !call->ended && !call->limits.stop.stop_requested() &&
         !(call->limits.deadline && *call->limits.deadline <= Clock::now());
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
  const auto now = Clock::now();
  std::erase_if(calls_, [&](const CallPtr& call) {
    const bool late = call->limits.deadline && *call->limits.deadline <= now;
    const bool left = call->ended || call->limits.stop.stop_requested();
    if (!left && !late && !call->done) return false;
    for (std::size_t i = call->next_row; i < call->rows.size(); ++i)
      stats_.waiting_tokens -= length_of(call->rows[i]);
    if (!call->done) {
      ++stats_.dropped;
      finish(call, left ? error_of(ErrorCode::cancelled, "the call was cancelled")
                        : error_of(ErrorCode::deadline,
                                   "the call's deadline passed while it waited for model " +
                                       options_.name));
    }
    return true;
  });
}

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
  const auto now = Clock::now();
  while (room > 0 && !turns.empty()) {
    const Turn turn = turns.top();
    turns.pop();
    Caller& caller = callers[turn.index];
    const Turn chosen = caller.calls.top();
    caller.calls.pop();
    const CallPtr& call = calls_[chosen.index];
    const std::int64_t length = length_of(call->rows[call->next_row]);
    if (length <= room || batch.slices.empty()) {
      if (!call->started) {
        call->started = true;
        call->result.load_ms = ms_between(call->submitted, loaded_at_);
        call->result.queue_ms = ms_between(call->submitted, now) - call->result.load_ms;
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

// Runs the slices and waits for them.
std::exception_ptr ModelExecutor::run_slices(std::span<const Slice> slices, double* device_ms) {
  try {
    std::vector<BatchRow> rows;
    for (const Slice& slice : slices) {
      for (std::size_t i = slice.begin; i < slice.end; ++i)
        rows.push_back({&slice.call->rows[i], &slice.call->want, &slice.call->result.rows[i]});
    }
    for (const BatchRow& row : rows) model_->check(*row.tokens);
    auto pending = model_->start(rows, [&] {
      return std::any_of(slices.begin(), slices.end(),
                         [&](const Slice& slice) { return wanted(slice.call); });
    });
    if (pending) *device_ms += pending->finish();
    return nullptr;
  } catch (...) {
    return current_error("running model " + options_.name);
  }
}

void ModelExecutor::begin(Batch& batch) {
  batch.began = Clock::now();
  try {
    for (const Slice& slice : batch.slices) {
      for (std::size_t i = slice.begin; i < slice.end; ++i) {
        model_->check(slice.call->rows[i]);
        batch.rows.push_back(
            {&slice.call->rows[i], &slice.call->want, &slice.call->result.rows[i]});
      }
    }
    batch.pending = model_->start(batch.rows, [this, slices = std::span(batch.slices)] {
      return std::any_of(slices.begin(), slices.end(),
                         [&](const Slice& slice) { return wanted(slice.call); });
    });
    if (!batch.pending) batch.device_ms = ms_between(batch.began, Clock::now());
  } catch (...) {
    batch.error = current_error("running model " + options_.name);
  }
}

// After memory ran out: once more, when others have given up what they could.
std::exception_ptr ModelExecutor::run_again(std::span<const Slice> slices,
                                            std::exception_ptr error) {
  if (code_of(error) != ErrorCode::out_of_memory || !options_.free_memory) return error;
  options_.free_memory();
  double ignored = 0;
  error = run_slices(slices, &ignored);
  if (!error || code_of(error) != ErrorCode::out_of_memory || !options_.explain_memory)
    return error;
  return error_of(ErrorCode::out_of_memory, message_of(error) + ". " + options_.explain_memory());
}

void ModelExecutor::complete(Batch& batch) {
  if (batch.pending) {
    try {
      batch.device_ms = batch.pending->finish();
    } catch (...) {
      batch.error = current_error("running model " + options_.name);
    }
    batch.pending.reset();
  }
  std::vector<std::exception_ptr> errors(batch.slices.size());
  if (batch.error) {
    std::exception_ptr error = batch.error;
    const bool left = std::none_of(batch.slices.begin(), batch.slices.end(),
                                   [&](const Slice& slice) { return wanted(slice.call); });
    if (left) {
      errors.assign(errors.size(), error);
    } else if (batch.slices.size() == 1) {
      errors[0] = run_again(batch.slices, error);
    } else {
      // Call by call, so that one bad call fails alone.
      for (std::size_t i = 0; i < batch.slices.size(); ++i) {
        const std::span<const Slice> one(&batch.slices[i], 1);
        double device_ms = 0;
        errors[i] = run_slices(one, &device_ms);
        if (errors[i]) errors[i] = run_again(one, errors[i]);
      }
    }
    batch.device_ms = ms_between(batch.began, Clock::now());
  }
  report(batch, errors);
}

void ModelExecutor::report(const Batch& batch, const std::vector<std::exception_ptr>& errors) {
  std::scoped_lock lock(mutex_);
  std::int64_t rows = 0;
  for (const Slice& slice : batch.slices)
    rows += static_cast<std::int64_t>(slice.end - slice.begin);
  ++stats_.batches;
  stats_.rows += static_cast<std::uint64_t>(rows);
  stats_.busy_ms += batch.device_ms;
  for (std::size_t i = 0; i < batch.slices.size(); ++i) {
    const Slice& slice = batch.slices[i];
    Call& call = *slice.call;
    for (std::size_t row = slice.begin; row < slice.end; ++row) {
      stats_.tokens += static_cast<std::uint64_t>(length_of(call.rows[row]));
    }
    call.rows_left -= slice.end - slice.begin;
    call.result.batch_size = std::max(call.result.batch_size, rows);
    call.result.gpu_ms += batch.device_ms;
    if (call.done) continue;
    if (errors[i]) {
      finish(slice.call, errors[i]);  // its other rows are dropped before the next batch
    } else if (call.rows_left == 0) {
      finish(slice.call, nullptr);
    }
  }
}

}  // namespace gpumcp::gpu_runtime
