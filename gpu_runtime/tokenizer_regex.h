#pragma once

// A regular expression of tokenizer.json, read as Oniguruma reads it (what `tokenizers` uses), run
// by PCRE2. Patterns and texts are hostile input: a pattern's size and each search's steps are
// bounded, and going beyond is an Error, never a hang. Immutable; any thread may search.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/tokenizer_text.h"

namespace gpumcp::gpu_runtime {

class Regex {
 public:
  // name: what the pattern is called in messages. Error(corrupt_checkpoint) for a broken pattern.
  Regex(const std::string& pattern, const std::string& name);
  static Regex literal(const std::string& text, const std::string& name);
  ~Regex();
  Regex(Regex&&) noexcept;
  Regex(const Regex&) = delete;

  // Appends all matches in text[piece], which is valid UTF-8, leftmost first, not overlapping.
  // Nothing before the piece is looked at. Error(invalid_argument) when a match takes too many
  // steps.
  void find_all(std::string_view text, Piece piece, std::vector<Piece>& matches) const;

 private:
  struct Code;
  std::unique_ptr<const Code> code_;
};

}  // namespace gpumcp::gpu_runtime
