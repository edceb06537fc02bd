#pragma once

// The seam between the queue (model_executor.h) and what runs a batch (loaded_model.h; fakes in
// tests). A BatchModel is made, used and destroyed on its executor's owner thread alone.
#include <ATen/core/Tensor.h>

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
  bool hidden_states = false;  // the embeddings and each layer's output
  bool logits = false;         // a score of every next token, behind every token
};

// pooled: float32 [dims] in host memory. The others: [n, d] on the model's device; logits is
// float32 [n, vocab_size].
struct RowResult {
  at::Tensor pooled, last_hidden_state, logits;
  std::vector<at::Tensor> hidden_states;
};

struct BatchRow {
  const TokenRow* tokens = nullptr;
  const Want* want = nullptr;
  RowResult* result = nullptr;
};

class GPUMCP_RUNTIME_API BatchModel {
 public:
  virtual ~BatchModel();
  // Throws Error(invalid_argument) for a row that run() must not see.
  virtual void check(const TokenRow& row) const = 0;
  // Fills every row's result and returns when the device has finished. May throw; the executor then
  // tries each call alone.
  virtual void run(std::span<const BatchRow> rows) = 0;
  // The same model as one that continues texts (generation/decode_model.h), or null.
  virtual DecodeModel* decoder() { return nullptr; }
};

}  // namespace gpumcp::gpu_runtime
