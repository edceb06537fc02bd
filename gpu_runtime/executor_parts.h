#pragma once

// What the parts of ModelExecutor share: model_executor.cpp (calls come and go), executor_turns.cpp
// (whose rows make up the next batch) and executor_batches.cpp (the owner thread: loads, runs,
// reports). For these files alone.
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "gpu_runtime/error.h"
#include "gpu_runtime/model_executor.h"

namespace gpumcp::gpu_runtime {

using ExecutorClock = std::chrono::steady_clock;

inline double executor_ms(ExecutorClock::time_point a, ExecutorClock::time_point b) {
  return std::max(0.0, std::chrono::duration<double, std::milli>(b - a).count());
}

inline std::int64_t row_length(const TokenRow& row) {
  return static_cast<std::int64_t>(row.ids.size());
}

inline std::exception_ptr executor_error(ErrorCode code, const std::string& message) {
  return std::make_exception_ptr(Error(code, message));
}

// One run(). The caller waits on `done_cv`; the owner thread fills result.rows of the rows in
// flight.
struct ModelExecutor::Call {
  std::vector<TokenRow> rows;
  Want want;
  CallLimits limits;
  ModelResult result;
  ExecutorClock::time_point submitted;
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
  ExecutorClock::time_point began;
  double device_ms = 0;
};

}  // namespace gpumcp::gpu_runtime
