#pragma once

// Helpers for reading the parts of tokenizer.json: typed fields with messages that name the part.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gpu_runtime/json.h"

namespace gpumcp::gpu_runtime {

// Ids above this are refused: they would only serve to exhaust memory.
inline constexpr std::int64_t kMaxTokenId = (std::int64_t{1} << 22) - 1;

// One object of tokenizer.json, and what to call it in messages ("…/tokenizer.json: normalizer").
class TokenizerPart {
 public:
  // Error(corrupt_checkpoint) when json is no object.
  TokenizerPart(const Json& json, std::string name);
  TokenizerPart(Json&& json, std::string name) = delete;  // it is kept by reference

  const std::string& name() const { return name_; }
  const Json* find(std::string_view key) const;  // nullptr: absent or null
  const Json& at(std::string_view key) const;
  std::string type() const { return string("type"); }

  bool boolean(std::string_view key, bool fallback) const;
  std::optional<bool> optional_boolean(std::string_view key) const;
  std::string string(std::string_view key) const;
  std::string string(std::string_view key, std::string fallback) const;
  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::int64_t integer(std::string_view key, std::int64_t min, std::int64_t max,
                       std::int64_t fallback) const;

  [[noreturn]] void refuse(std::string_view key, std::string_view expected,
                           const Json& value) const;
  // Error(unsupported): names the part, its type, and what is supported.
  [[noreturn]] void unsupported(std::string_view supported) const;

 private:
  const Json& json_;
  std::string name_;
};

// An id in tokenizer.json; Error(corrupt_checkpoint) outside 0 to kMaxTokenId.
std::int32_t to_token_id(const Json& value, const std::string& name);

}  // namespace gpumcp::gpu_runtime
