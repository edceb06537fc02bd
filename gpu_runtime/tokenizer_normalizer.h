#pragma once

// The first stage of a tokenizer: raw text to the text that the vocabulary was made of. One class a
// "normalizer" of tokenizer.json. Immutable, so any thread may call normalize().
#include <memory>
#include <string>
#include <string_view>

#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer_text.h"

namespace gpumcp::gpu_runtime {

class Normalizer {
 public:
  virtual ~Normalizer() = default;

  // Writes to `to`, which is cleared first; to.tracked says whether to note origins. `from` is
  // valid UTF-8; its first character is number first_char of the original text.
  virtual void normalize(std::string_view from, std::uint32_t first_char,
                         NormalizedText& to) const = 0;
};

class TokenizerPart;
std::unique_ptr<const Normalizer> make_normalizer_part(const TokenizerPart& part);
// All but BertNormalizer; nullptr: none of these.
std::unique_ptr<const Normalizer> make_plain_normalizer(const TokenizerPart& part);

// tokenizer.json's "normalizer": null, or {"type": …}. Error(unsupported) names a type that is not
// known here.
std::unique_ptr<const Normalizer> make_normalizer(const Json& json, const std::string& origin);

}  // namespace gpumcp::gpu_runtime
