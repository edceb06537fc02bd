#pragma once

// The seam between the queue of generations (generation_queue.h) and what computes the next token
// (loaded_model.h; fakes in tests). Made, used and destroyed on the model's owner thread alone.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/kv_cache.h"
#include "gpu_runtime/taps.h"

namespace gpumcp::gpu_runtime {

struct DecodeFacts {
  std::int64_t max_length = 0;       // tokens in one sequence, its prompt included
  std::int64_t bytes_per_token = 0;  // that a KvCache takes
  std::int64_t prefill_chunk = 64;   // tokens of a prompt that go through the layers at once
};

// What one sequence adds to what its cache holds: a part of its prompt, or its newest token.
struct DecodeRow {
  std::span<const std::int32_t> tokens;
  KvCache* cache = nullptr;
  bool want_scores = false;                       // of what may follow the last of these tokens
  std::shared_ptr<const RowTaps> taps = nullptr;  // as prepare_taps() gave them
  std::vector<at::Tensor>* captured = nullptr;    // one for each capture; set when decode() returns
};

class GPUMCP_RUNTIME_API DecodeModel {
 public:
  virtual ~DecodeModel();
  virtual DecodeFacts decode_facts() const = 0;
  // Throws Error(invalid_argument) for tokens that decode() must not see.
  virtual void check_prompt(std::span<const std::int32_t> tokens) const = 0;
  // Checked, and where the model is. Throws Error(invalid_argument) for taps that do not fit, and
  // Error(unsupported) where there are none, as this default does.
  virtual std::shared_ptr<const RowTaps> prepare_taps(const RowTaps& taps) const;
  virtual std::unique_ptr<KvCache> make_cache(std::int64_t tokens) = 0;
  // float32 [rows that want scores, vocabulary] in their order, on the model's device and the
  // caller's to change. The caches have advanced when it returns; when it throws they are as they
  // were.
  virtual at::Tensor decode(std::span<const DecodeRow> rows) = 0;
};

}  // namespace gpumcp::gpu_runtime
