#pragma once

// Continues the texts of many callers with one model: continuous batching. The model's owner thread
// (model_executor.h) calls step() again and again while there is work:
//
//   run() ─┐             ┌ sequences that wait join, as memory allows, a call in turn with the
//   others run() ─┼─▶ waiting ─▶│ one step: each running sequence's newest token, and chunks of new
//   prompts run() ─┘             └ each gets its next token; whoever is done leaves and is answered
//
// So nobody waits for another's last token, and a long prompt goes in chunks between the others'
// steps. A prompt is always cut at the same places and every sequence samples with its own
// generator, so that what it gets does not depend on who else is there. Calls whose client left or
// whose deadline passed leave between steps. A step that fails is tried again sequence by sequence.
//
// run() may be called from any thread; open(), step() and close() are the owner thread's. Belongs
// to a ModelExecutor.
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/generation/decode_model.h"
#include "gpu_runtime/generation/sampler.h"

namespace gpumcp::gpu_runtime {

struct GenerationQueueOptions {
  std::string name;                // of the model, for messages
  std::size_t max_running = 64;    // sequences in a step
  std::int64_t prompt_tokens = 0;  // in a step while others generate; 0: one chunk of the model's
  std::int64_t cache_bytes = std::int64_t{4} << 30;  // of all that run; one alone may take more
  std::size_t max_waiting = 512;                     // sequences; beyond: Error(overloaded) at once
  // Whether all that run may hold so many bytes of caches, which count from then on; asked on the
  // owner thread with no lock held, and never refused when it is less than before. Null: always.
  std::function<bool(std::int64_t)> hold_memory = nullptr;
  std::function<std::string()> explain_memory = nullptr;  // who holds what, for the error
};

// What a token means for its text, said on the owner thread, so it must be quick.
struct AcceptedToken {
  std::string text;   // that has become certain
  bool go_on = true;  // false: the text ends here (a stop string)
};

// One sequence to continue.
struct GenerationRequest {
  std::vector<std::int32_t> prompt;
  GenerationConfig config;
  std::uint64_t seed = 0;
  std::shared_ptr<const RowTaps> taps = nullptr;
  std::function<AcceptedToken(std::int32_t token)> accept = nullptr;
};

enum class FinishReason {
  eos,      // one of the config's eos_token_id came; it is the last token
  length,   // max_new_tokens
  context,  // the model takes no longer text
  stop,     // accept() said so
};
GPUMCP_RUNTIME_API std::string_view to_string(FinishReason reason);

struct GeneratedSequence {
  std::vector<std::int32_t> tokens;  // behind the prompt
  FinishReason reason = FinishReason::length;
  std::vector<at::Tensor> captures;  // of its taps, on the model's device
};

// A call's sequences in its own order, and what it went through (as ModelResult has it).
struct GenerationResult {
  std::vector<GeneratedSequence> sequences;
  double load_ms = 0, queue_ms = 0, gpu_ms = 0;
  double first_token_ms = 0;                // from the call until its first token was there
  std::int64_t batch_size = 0, tokens = 0;  // tokens: prompts and what was generated
};

// A token on its way to the caller.
struct GenerationEvent {
  std::size_t sequence = 0;
  std::int32_t token = 0;
  std::string text;
};

struct GenerationStats {
  std::size_t waiting = 0, running = 0;  // sequences
  std::int64_t cache_bytes = 0;          // of those that run
  std::uint64_t steps = 0, prompt_tokens = 0, new_tokens = 0, refused = 0, dropped = 0;
  double busy_ms = 0;
};

class GPUMCP_RUNTIME_API GenerationQueue {
 public:
  // `wake` is called, with no lock held, when there is new work for the owner thread.
  GenerationQueue(GenerationQueueOptions options, std::function<void()> wake);
  GenerationQueue(const GenerationQueue&) = delete;
  GenerationQueue& operator=(const GenerationQueue&) = delete;
  ~GenerationQueue();

  // Blocks until all sequences are done; meanwhile hands each token to on_event, on this thread.
  // Throws Error: overloaded, cancelled, deadline, the load's own, the model's own,
  // invalid_argument for a prompt that fills the model's context; and what on_event throws.
  GenerationResult run(std::vector<GenerationRequest> requests, const CallLimits& limits,
                       const std::function<void(const GenerationEvent&)>& on_event = nullptr);

  GenerationStats stats() const;

  // The owner thread's. open() once the model is there; null: it cannot continue a text.
  void open(DecodeModel* model);
  bool has_work() const;  // from any thread, as the next
  bool wanted() const;    // somebody still waits for what has not joined
  void step();
  void close(std::exception_ptr error);  // ends all, and whoever comes later

 private:
  struct Call;
  struct Running;
  using CallPtr = std::shared_ptr<Call>;

  void drop_ended();
  bool hold(std::int64_t cache_bytes);
  void admit();
  std::unique_ptr<Running> begin(const CallPtr& call, std::size_t index);
  struct PlannedRow;
  std::vector<PlannedRow> plan();
  void run_rows(std::span<PlannedRow> rows);
  at::Tensor compute(std::span<PlannedRow> rows);
  void take_token(Running& running, std::int32_t token);
  void finish(const CallPtr& call, std::exception_ptr error);
  std::string busy_message() const;

  const GenerationQueueOptions options_;
  const std::function<void()> wake_;

  // The owner thread's:
  DecodeModel* model_ = nullptr;
  DecodeFacts facts_;
  std::vector<std::unique_ptr<Running>> running_;
  std::size_t next_prompt_ = 0;  // whose chunk comes first in the next step
  std::int64_t cache_bytes_ = 0;
  std::uint64_t step_ = 0;

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  std::deque<CallPtr> waiting_;  // with sequences that have not joined, in turn
  GenerationStats stats_;
  std::exception_ptr closed_;
  bool opened_ = false;
  std::chrono::steady_clock::time_point opened_at_;
};

}  // namespace gpumcp::gpu_runtime
