#pragma once

// What the pre-tokenizers that only cut are made of: finding stretches of a piece, and what becomes
// of them. Free functions and an interface; immutable, callable from any thread.
#include <memory>
#include <string_view>
#include <vector>

#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/tokenizer_pre_tokenizer.h"
#include "gpu_runtime/tokenizer_regex.h"

namespace gpumcp::gpu_runtime {

// What becomes of a match: "Removed", "Isolated", ...
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

SplitBehavior read_behavior(const TokenizerPart& part);

// A stretch of a piece, and whether it is what was looked for.
struct Stretch {
  Piece piece;
  bool match;
};

// Appends the pieces that `stretches`, which lie end to end, come to.
void apply_behavior(std::vector<Stretch>& stretches, SplitBehavior behavior,
                    std::vector<Piece>& pieces);

// A pre-tokenizer that leaves the text as it is.
class PieceSplitter : public PreTokenizer {
 public:
  void split(PreTokenizedText& text) const final;

 private:
  virtual void split_piece(std::string_view text, Piece piece, std::vector<Piece>& out) const = 0;
};

// {"type": "Split", "pattern": {"String" | "Regex": …}, "behavior": …, "invert": …}
std::unique_ptr<const PreTokenizer> make_split(const TokenizerPart& part);
// Digits, Punctuation, Whitespace, WhitespaceSplit, CharDelimiterSplit; nullptr: none of these.
std::unique_ptr<const PreTokenizer> make_char_splitter(const TokenizerPart& part);

}  // namespace gpumcp::gpu_runtime
