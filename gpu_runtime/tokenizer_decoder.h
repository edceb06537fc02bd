#pragma once

// Tokens back to text. One class a "decoder" of tokenizer.json. Immutable, so any thread may call
// decode().
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/json.h"

namespace gpumcp::gpu_runtime {

using TokenStrings = std::vector<std::string>;

class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  // Changes the tokens into what stands in the text for them; joined they are the text.
  virtual void decode(TokenStrings& tokens) const = 0;
};

// tokenizer.json's "decoder": null (tokens joined by spaces) or {"type": …}. Error(unsupported)
// names an unknown type.
std::unique_ptr<const TokenDecoder> make_decoder(const Json& json, const std::string& origin);

}  // namespace gpumcp::gpu_runtime
