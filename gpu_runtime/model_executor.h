#pragma once

// Runs one model on its own thread and makes batches of what callers ask.
//
//   run() ─┐            ┌ not loaded yet: the owner thread loads; calls gather meanwhile
//   run() ─┼─▶ queue ─▶ │ a batch: rows of all waiting calls, up to the token budget
//   run() ─┘            └ then the next batch: whatever has come while this one ran
//
// There is no timer: an idle model starts at once, a busy one finds its next batch waiting. Where
// the device works beside the CPU, one batch more is packed and handed over while one runs.
// Rows are taken by turns (fair queueing by tokens): first between callers, so that an agent with a
// hundred calls does not hold up another, then between a caller's calls, so that a call with
// thousands of rows does not hold up one with a single row; priorities weigh the turns. Calls whose
// client left or whose deadline passed are dropped before the batch; a batch or a load that nobody
// waits for any more ends between two layers or tensors. A batch that fails is run again call by
// call, so that one bad call fails alone; one that runs out of memory is tried again once after
// others' memory was freed. Thread-safe. Destruction finishes the batch in flight, answers
// `cancelled` to the rest, and joins.
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "gpu_runtime/batch_model.h"
#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/generation/generation_queue.h"

namespace gpumcp::gpu_runtime {

struct ModelExecutorOptions {
  std::string name;                     // of the model, for messages
  std::int64_t token_budget = 16384;    // per batch; a longer row runs alone
  std::size_t max_waiting_calls = 512;  // beyond: Error(overloaded) at once
  std::int64_t max_waiting_tokens = 8'000'000;
  int num_threads = 0;                // CPU threads of a kernel; see set_cpu_threads()
  GenerationQueueOptions generation;  // its name is this one's
  // When memory did not suffice for a batch: frees what can be freed (before the one retry), and
  // says who holds what (for the error). Called on the owner thread, with no lock held.
  std::function<void()> free_memory;
  std::function<std::string()> explain_memory;
};

// A call's rows in its own order, and what it went through (see Usage for the meaning of each).
struct ModelResult {
  std::vector<RowResult> rows;
  double load_ms = 0, queue_ms = 0, gpu_ms = 0;
  std::int64_t batch_size = 0, tokens = 0;
};

struct ExecutorStats {
  std::size_t waiting_calls = 0;
  std::int64_t waiting_tokens = 0;
  std::uint64_t batches = 0, rows = 0, tokens = 0, dropped = 0, refused = 0;
  double busy_ms = 0;
};

class GPUMCP_RUNTIME_API ModelExecutor {
 public:
  using MakeModel = std::function<std::unique_ptr<BatchModel>(const StillWanted&)>;

  // Returns at once; the owner thread calls make_model when the first call is there. When that
  // throws, every waiting call gets its error, and the executor is of no more use (load_failed());
  // unless nobody wanted the load any more: then the next call begins it anew.
  explicit ModelExecutor(MakeModel make_model, ModelExecutorOptions options = {});
  ModelExecutor(const ModelExecutor&) = delete;
  ModelExecutor& operator=(const ModelExecutor&) = delete;
  ~ModelExecutor();

  // Blocks until all rows are there. Throws Error: overloaded, cancelled, deadline, the load's own,
  // the model's own.
  ModelResult run(std::vector<TokenRow> rows, const Want& want, const CallLimits& limits = {});

  // Texts that are continued; the owner thread takes a step of it after each batch.
  GenerationQueue& generations() { return generations_; }

  bool loaded() const;
  bool loading() const;
  bool load_failed() const;
  double load_ms() const;  // 0 while loading
  ExecutorStats stats() const;

 private:
  struct Call;
  struct Slice;
  struct Batch;
  using CallPtr = std::shared_ptr<Call>;

  void owner_loop();
  bool load();
  bool wanted(const CallPtr& call) const;
  bool anyone_waits();
  bool nothing_to_do() const;
  void drop_ended_calls();
  void start_clock(Call& call);
  Batch take_batch();
  void begin(Batch& batch);
  void complete(Batch& batch);
  std::exception_ptr run_slices(std::span<const Slice> slices, double* device_ms);
  std::exception_ptr run_again(std::span<const Slice> slices, std::exception_ptr error);
  void report(const Batch& batch, const std::vector<std::exception_ptr>& errors);
  void finish(const CallPtr& call, std::exception_ptr error);
  void end_all(std::exception_ptr error);
  std::string busy_message() const;

  const ModelExecutorOptions options_;
  const MakeModel make_model_;
  std::unique_ptr<BatchModel> model_;  // the owner thread's

  std::atomic<std::uint64_t> arrivals_ = 0;  // of calls and of the stop, for who looks unlocked
  mutable std::mutex mutex_;
  std::condition_variable work_;
  // Guarded by mutex_:
  std::deque<CallPtr> calls_;  // with rows that no batch has taken yet, in order of arrival
  // Fair queueing: what each caller has had, in weighted tokens, and the least of those that were
  // last served, where a newcomer begins.
  std::unordered_map<std::string, std::shared_ptr<double>> served_;
  double clock_ = 0;
  ExecutorStats stats_;
  bool stopping_ = false, loaded_ = false, loading_ = false;
  std::exception_ptr load_error_;
  std::chrono::steady_clock::time_point load_began_, loaded_at_;

  GenerationQueue generations_;
  std::jthread owner_;  // last: starts when all the rest is there
};

// What an exception becomes for a caller: an Error stays as it is, running out of memory and
// torch's errors get their code and one line of text. Must be called inside a catch block.
GPUMCP_RUNTIME_API std::exception_ptr current_error(const std::string& doing);
// The code of an Error, `internal` for any other exception.
GPUMCP_RUNTIME_API ErrorCode code_of(const std::exception_ptr& error);
GPUMCP_RUNTIME_API std::string message_of(const std::exception_ptr& error);

}  // namespace gpumcp::gpu_runtime
