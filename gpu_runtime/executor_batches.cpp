// The owner thread of a ModelExecutor: it loads the model, runs batches, and answers calls.
#include <c10/core/InferenceMode.h>

#include <algorithm>

#include "gpu_runtime/device.h"
#include "gpu_runtime/executor_parts.h"

namespace gpumcp::gpu_runtime {

PendingBatch::~PendingBatch() = default;
BatchModel::~BatchModel() = default;

std::unique_ptr<PendingBatch> BatchModel::start(std::span<const BatchRow> rows,
                                                const StillWanted& wanted) {
  run(rows, wanted);
  return nullptr;
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
    error = load_error_ ? load_error_
                        : executor_error(ErrorCode::cancelled,
                                         "model " + options_.name + " is being stopped");
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
    load_began_ = ExecutorClock::now();
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
  loaded_at_ = ExecutorClock::now();
  if (error && unwanted && code_of(error) == ErrorCode::cancelled) return true;
  loaded_ = !error;
  load_error_ = error;
  return !error;
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
  batch.began = ExecutorClock::now();
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
    if (!batch.pending) batch.device_ms = executor_ms(batch.began, ExecutorClock::now());
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
  return executor_error(ErrorCode::out_of_memory,
                        message_of(error) + ". " + options_.explain_memory());
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
    if (left || code_of(error) == ErrorCode::device_lost) {
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
    batch.device_ms = executor_ms(batch.began, ExecutorClock::now());
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
      stats_.tokens += static_cast<std::uint64_t>(row_length(call.rows[row]));
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
