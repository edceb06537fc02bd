#pragma once

// What a call cost. A value; each CallScope (call_scope.h) keeps one for the call on its thread.
#include <cstdint>
#include <nlohmann/json.hpp>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

struct GPUMCP_RUNTIME_API Usage {
  double queue_ms = 0;     // from submission until the first batch with a row of the call began
  double load_ms = 0;      // waited for weights to load (also when another call had started that)
  double tokenize_ms = 0;  // this thread's time in tokenizers
  // Device time of the batches that the call rode in; on a CPU device their compute time. Other
  // calls may have shared those batches (batch_size tells), so the sum over calls exceeds what the
  // device did.
  double gpu_ms = 0;
  std::int64_t batch_size = 0;  // rows in the largest of those batches, other calls' rows included
  std::int64_t tokens = 0;      // run through a model for this call, special tokens included
  bool cold = false;            // a model had to be loaded, by this call or while it waited
  // The call's share of the time in which any model's weights were held: while several calls ran,
  // each has an equal part of it (held_time.h). Idle time is nobody's.
  double gpu_held_s = 0;
  std::int64_t truncated = 0;  // texts that were cut to a model's limit

  // In the order of the contract (design 7); `truncated` comes only when it is not 0.
  nlohmann::ordered_json to_json() const;
};

}  // namespace gpumcp::gpu_runtime
