#pragma once

// The third stage of a tokenizer: pieces of text to token ids. One class and one file a "model" of
// tokenizer.json; a new one is a file beside tokenizer_bpe.cpp and a line in make_token_model().
// Immutable, so any thread may call tokenize().
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer_text.h"

namespace gpumcp::gpu_runtime {

class TokenModel {
 public:
  virtual ~TokenModel() = default;

  // Appends the tokens of every piece to `to`; offsets (in characters of the original text) only
  // when to.tracked, which goes with text.normalized.tracked.
  virtual void tokenize(const PreTokenizedText& text, TokenList& to) const = 0;

  virtual std::optional<std::int32_t> token_to_id(std::string_view token) const = 0;
  virtual std::optional<std::string_view> id_to_token(std::int32_t id) const = 0;
  virtual std::optional<std::int32_t> unk_id() const = 0;
  virtual std::size_t vocab_size() const = 0;  // distinct tokens
};

// tokenizer.json's "model". Error(unsupported) names an unknown type.
// byte_level: the pieces are bytes, not characters (PreTokenizer::byte_level()).
std::unique_ptr<const TokenModel> make_token_model(const Json& json, const std::string& origin,
                                                   bool byte_level);
std::unique_ptr<const TokenModel> make_wordpiece(const Json& json, const std::string& origin);
std::unique_ptr<const TokenModel> make_bpe(const Json& json, const std::string& origin,
                                           bool byte_level);
std::unique_ptr<const TokenModel> make_unigram(const Json& json, const std::string& origin);

}  // namespace gpumcp::gpu_runtime
