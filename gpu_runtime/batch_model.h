#pragma once

// The seam between the queue (model_executor.h) and what runs a batch (loaded_model.h; fakes in
// tests). A BatchModel is made, used and destroyed on its executor's owner thread alone.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/packing.h"

namespace gpumcp::gpu_runtime {

class DecodeModel;

// What a call wants of each of its rows.
struct Want {
  bool pooled = false;  // the vector that the model's own modules make of it
  bool raw = false;     // … without their normalisation
  bool last_hidden_state = false;
  bool hidden_states = false;      // the embeddings and each layer's output
  bool logits = false;             // a score of every next token, behind every token
  bool last_logits = false;        // … behind the last token alone
  bool log_probabilities = false;  // of each token but the first, given those before it
  bool class_scores = false;       // of a classifier's labels, a cross-encoder's one
};

// pooled: float32 [dims], class_scores: float32 [labels], both in host memory. The others: [n, d]
// on the model's device; logits is float32 [n, vocab_size] ([1, vocab_size] for last_logits),
// log_probabilities float32 [n - 1] in host memory.
struct RowResult {
  at::Tensor pooled, last_hidden_state, logits, log_probabilities, class_scores;
  std::vector<at::Tensor> hidden_states;
  // Of the row's taps, one for each capture: [places, width] (z: [places, heads, head_dim]; a
  // pattern: [heads, n, n]; logits: float32 [places, vocab_size]).
  std::vector<at::Tensor> captures;
};

struct BatchRow {
  const TokenRow* tokens = nullptr;
  const Want* want = nullptr;
  RowResult* result = nullptr;
};

// A batch that was handed to a device which works by itself. Destroying it without finish() waits
// too.
class GPUMCP_RUNTIME_API PendingBatch {
 public:
  virtual ~PendingBatch();
  // Whether finish() would not have to wait.
  virtual bool done() const = 0;
  // Waits for the device, fills the rows' results, and returns the device's own time in
  // milliseconds. May throw what run() may.
  virtual double finish() = 0;
};

class GPUMCP_RUNTIME_API BatchModel {
 public:
  virtual ~BatchModel();
  // Throws Error(invalid_argument) for a row that run() must not see.
  virtual void check(const TokenRow& row) const = 0;
  // Fills every row's result and returns when the device has finished. May throw; the executor then
  // tries each call alone. Throws Error(cancelled) when it finds that nobody wants it.
  virtual void run(std::span<const BatchRow> rows, const StillWanted& wanted) = 0;
  // Begins a batch. A device that works beside the CPU gets its kernels and the call returns, so
  // that the next batch is prepared meanwhile; `rows` stay where they are until it is finished.
  // Null: all is done already (the default, which calls run()).
  virtual std::unique_ptr<PendingBatch> start(std::span<const BatchRow> rows,
                                              const StillWanted& wanted);
  // Bytes of weights on the model's device, as they were counted while they were read.
  virtual std::uint64_t nbytes() const { return 0; }
  // The same model as one that continues texts (generation/decode_model.h), or null.
  virtual DecodeModel* decoder() { return nullptr; }
};

}  // namespace gpumcp::gpu_runtime
