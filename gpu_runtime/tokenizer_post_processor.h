#pragma once

// The last stage of a tokenizer: truncates the tokens of one text or a pair, and puts them into the
// template that adds [CLS], [SEP] and the like. Every "post_processor" of tokenizer.json becomes
// such a template. Immutable, so any thread may call assemble().
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer.h"
#include "gpu_runtime/tokenizer_text.h"

namespace gpumcp::gpu_runtime {

class TokenizerPart;

class PostProcessor {
 public:
  // tokenizer.json's "post_processor": null, or {"type": …}. Error(unsupported) names an unknown
  // type.
  PostProcessor(const Json& json, const std::string& origin);

  // pair: nullptr for one text.
  Encoding assemble(const TokenList& first, const TokenList* pair,
                    const EncodeOptions& options) const;

  std::size_t n_special_tokens(bool pair) const;

  // A byte-level post-processor wants the offsets of " word" to be those of "word".
  bool trims_offsets() const { return trim_offsets_; }
  bool added_prefix_space() const { return added_prefix_space_; }

 private:
  // One step of a template: the tokens of a text, or special tokens.
  struct Step {
    enum class Kind { first, second, special } kind;
    std::int32_t type_id;
    std::vector<std::int32_t> ids;  // of special
  };
  using Template = std::vector<Step>;

  static Template read_template(const Json& steps, const Json& special_tokens,
                                const std::string& name);

  void read(const TokenizerPart& part);

  Template single_, pair_;
  bool has_template_ = false, trim_offsets_ = false, added_prefix_space_ = false;
};

}  // namespace gpumcp::gpu_runtime
