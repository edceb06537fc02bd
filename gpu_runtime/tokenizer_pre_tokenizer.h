#pragma once

// The second stage of a tokenizer: cuts normalized text into the pieces that the model takes on
// their own. One class a "pre_tokenizer" of tokenizer.json. Immutable, so any thread may call
// split().
#include <memory>
#include <string>

#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer_text.h"

namespace gpumcp::gpu_runtime {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;

  // Fills text.pieces, which is cleared first, from text.normalized. May rewrite the text, as a
  // byte-level one does.
  virtual void split(PreTokenizedText& text) const = 0;
};

// tokenizer.json's "pre_tokenizer": null, or {"type": …}. Error(unsupported) names an unknown type.
std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& json, const std::string& origin);

}  // namespace gpumcp::gpu_runtime
