#pragma once

// What a model can take in a text, and the check of it: ids beyond a table would read other memory,
// or end the process. Values; any thread.
#include <cstdint>
#include <span>

#include "gpu_runtime/packing.h"

namespace gpumcp::gpu_runtime {

struct TokenLimits {
  std::int64_t vocab_size = 0, max_length = 0;
  std::int64_t type_vocab_size = 0;  // 0: token types mean nothing
};

// Error(invalid_argument) names what is beyond what: no ids at all, or one that is not in the
// vocabulary; and for a whole row, too many, or a type that is not in the model's table.
void check_ids(std::span<const std::int32_t> ids, std::int64_t vocab_size);
void check_tokens(const TokenRow& row, const TokenLimits& limits);

}  // namespace gpumcp::gpu_runtime
