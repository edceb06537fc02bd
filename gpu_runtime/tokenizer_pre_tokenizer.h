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

  // Cuts each of text.pieces further; the caller begins with one piece, the whole text. May rewrite
  // the text, as Metaspace does. The pieces stay in order and are not empty.
  virtual void split(PreTokenizedText& text) const = 0;

  // The model is to take the pieces' bytes, not their characters. (`tokenizers` writes a character
  // for each byte into the text; here the model's vocabulary is turned into bytes instead.)
  virtual bool byte_level() const { return false; }
};

// tokenizer.json's "pre_tokenizer": null, or {"type": …}. Error(unsupported) names an unknown type.
std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& json, const std::string& origin);

}  // namespace gpumcp::gpu_runtime
