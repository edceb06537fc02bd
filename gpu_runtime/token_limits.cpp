#include "gpu_runtime/token_limits.h"

#include <string>

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {

namespace {

[[noreturn]] void refuse_row(const std::string& why) { throw Error(ErrorCode::invalid_argument, why); }

}  // namespace

void check_ids(std::span<const std::int32_t> ids, std::int64_t vocab_size) {
  if (ids.empty()) refuse_row("a text without tokens: a model needs at least one");
  for (std::int32_t id : ids) {
    if (id >= 0 && id < vocab_size) continue;
    refuse_row("token id " + std::to_string(id) + " is not in the model's vocabulary of " +
           std::to_string(vocab_size));
  }
}

void check_tokens(const TokenRow& row, const TokenLimits& limits) {
  check_ids(row.ids, limits.vocab_size);
  if (static_cast<std::int64_t>(row.ids.size()) > limits.max_length) {
    refuse_row("a text of " + std::to_string(row.ids.size()) + " tokens: the model takes at most " +
           std::to_string(limits.max_length) + " (truncate when tokenizing)");
  }
  if (!row.type_ids.empty() && row.type_ids.size() != row.ids.size())
    refuse_row("token types and ids differ in number");
  for (std::int32_t type : row.type_ids) {
    if (limits.type_vocab_size > 0 && (type < 0 || type >= limits.type_vocab_size)) {
      refuse_row("token type " + std::to_string(type) + " is beyond the model's " +
             std::to_string(limits.type_vocab_size));
    }
  }
}

}  // namespace gpumcp::gpu_runtime
