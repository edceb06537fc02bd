#include "gpu_runtime/model_executor.h"

#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <new>
#include <optional>

#include "gpu_runtime/device.h"
#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

using Clock = std::chrono::steady_clock;

double ms_between(Clock::time_point a, Clock::time_point b) {
  return std::max(0.0, std::chrono::duration<double, std::milli>(b - a).count());
}

std::int64_t length_of(const TokenRow& row) { return static_cast<std::int64_t>(row.ids.size()); }

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

BatchModel::~BatchModel() = default;

// One run(). The caller waits on `done_cv`; the owner thread fills result.rows of the rows in
// flight.
struct ModelExecutor::Call {
  std::vector<TokenRow> rows;
  Want want;
  CallLimits limits;
  ModelResult result;
  Clock::time_point submitted;

  // Guarded by the executor's mutex_:
  std::size_t next_row = 0;                           // the first that no batch has taken
  std::size_t rows_left = 0;                          // not yet run
  bool started = false, ended = false, done = false;  // ended: the caller no longer waits
  std::exception_ptr error;
  std::condition_variable done_cv;
};

// A call's rows in one batch: consecutive, and one slice a call.
struct ModelExecutor::Slice {
  CallPtr call;
  std::size_t begin = 0, end = 0;
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

ModelExecutor::ModelExecutor(MakeModel make_model, ModelExecutorOptions options)
    : options_(std::move(options)),
      make_model_(std::move(make_model)),
      created_(Clock::now()),
      generations_(generation_options(options_),
                   [this] {
                     {
                       std::scoped_lock lock(mutex_);
                     }  // the owner thread is in wait() or before
                     work_.notify_all();
                   }),
      owner_([this] { owner_loop(); }) {}

ModelExecutor::~ModelExecutor() {
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
  }
  work_.notify_all();
  owner_.join();
}

bool ModelExecutor::loaded() const {
  std::scoped_lock lock(mutex_);
  return loaded_;
}

bool ModelExecutor::load_failed() const {
  std::scoped_lock lock(mutex_);
  return load_error_ != nullptr;
}

double ModelExecutor::load_ms() const {
  std::scoped_lock lock(mutex_);
  return loaded_ ? ms_between(created_, loaded_at_) : 0;
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
  calls_.push_back(call);
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
  if (load()) {
    generations_.open(model_->decoder());
    for (;;) {
      std::vector<Slice> batch;
      {
        std::unique_lock lock(mutex_);
        work_.wait(lock, [&] { return stopping_ || !calls_.empty() || generations_.has_work(); });
        if (stopping_) break;
        drop_ended_calls();
        batch = take_batch();
      }
      if (!batch.empty()) run_batch(batch);
      generations_.step();
    }
  }
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

bool ModelExecutor::load() {
  std::exception_ptr error;
  try {
    set_cpu_threads(options_.num_threads);
    model_ = make_model_();
  } catch (...) {
    error = current_error("loading model " + options_.name);
  }
  make_model_ = nullptr;
  std::scoped_lock lock(mutex_);
  loaded_at_ = Clock::now();
  loaded_ = !error;
  load_error_ = error;
  return !error;
}

// Called with mutex_ held, as are the next three.
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

std::vector<ModelExecutor::Slice> ModelExecutor::take_batch() {
  std::vector<Slice> batch;
  std::int64_t room = options_.token_budget;
  const auto now = Clock::now();
  auto take = [&](const CallPtr& call, std::int64_t share) {
    const std::size_t begin = call->next_row;
    while (call->next_row < call->rows.size()) {
      const std::int64_t length = length_of(call->rows[call->next_row]);
      if (length > std::min(share, room) && !(batch.empty() && call->next_row == begin)) break;
      share -= length;
      room -= length;
      stats_.waiting_tokens -= length;
      ++call->next_row;
    }
    if (call->next_row == begin) return;
    if (!call->started) {
      call->started = true;
      call->result.load_ms = ms_between(call->submitted, loaded_at_);
      call->result.queue_ms = ms_between(call->submitted, now) - call->result.load_ms;
    }
    auto had = std::find_if(batch.begin(), batch.end(),
                            [&](const Slice& slice) { return slice.call == call; });
    if (had != batch.end()) {
      had->end = call->next_row;
    } else {
      batch.push_back({call, begin, call->next_row});
    }
  };
  const std::int64_t share = std::max<std::int64_t>(
      1, room / static_cast<std::int64_t>(std::max<std::size_t>(1, calls_.size())));
  for (const CallPtr& call : calls_) take(call, share);  // a fair share each,
  for (const CallPtr& call : calls_) {                   // then what is left, in order of arrival
    if (room > 0) take(call, room);
  }
  std::erase_if(calls_, [](const CallPtr& call) { return call->next_row == call->rows.size(); });
  return batch;
}

std::exception_ptr ModelExecutor::try_run(std::span<const Slice> slices) {
  try {
    std::vector<BatchRow> rows;
    for (const Slice& slice : slices) {
      for (std::size_t i = slice.begin; i < slice.end; ++i) {
        model_->check(slice.call->rows[i]);
        rows.push_back({&slice.call->rows[i], &slice.call->want, &slice.call->result.rows[i]});
      }
    }
    model_->run(rows);
    return nullptr;
  } catch (...) {
    return current_error("running model " + options_.name);
  }
}

void ModelExecutor::run_batch(std::vector<Slice>& batch) {
  const auto began = Clock::now();
  std::vector<std::exception_ptr> errors(batch.size());
  if (std::exception_ptr error = try_run(batch)) {
    // Call by call, so that one bad call fails alone.
    for (std::size_t i = 0; i < batch.size(); ++i)
      errors[i] = batch.size() == 1 ? error : try_run({&batch[i], 1});
  }
  const double took_ms = ms_between(began, Clock::now());

  std::scoped_lock lock(mutex_);
  std::int64_t rows = 0;
  for (const Slice& slice : batch) rows += static_cast<std::int64_t>(slice.end - slice.begin);
  ++stats_.batches;
  stats_.rows += static_cast<std::uint64_t>(rows);
  stats_.busy_ms += took_ms;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const Slice& slice = batch[i];
    Call& call = *slice.call;
    for (std::size_t row = slice.begin; row < slice.end; ++row) {
      stats_.tokens += static_cast<std::uint64_t>(length_of(call.rows[row]));
    }
    call.rows_left -= slice.end - slice.begin;
    call.result.batch_size = std::max(call.result.batch_size, rows);
    call.result.gpu_ms += took_ms;
    if (call.done) continue;
    if (errors[i]) {
      finish(slice.call, errors[i]);  // its other rows are dropped before the next batch
    } else if (call.rows_left == 0) {
      finish(slice.call, nullptr);
    }
  }
}

}  // namespace gpumcp::gpu_runtime
