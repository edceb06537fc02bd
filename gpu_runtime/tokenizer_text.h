#pragma once

// What the stages of a tokenizer hand to each other:
//
//   text ─added tokens─▶ segments ─normalizer─▶ NormalizedText ─pre-tokenizer─▶ pieces ─model─▶
//   tokens
//
// These live in one thread's scratch space and are reused from call to call, so that a short text
// costs no allocation. Where each byte came from is noted only when offsets are asked for.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gpumcp::gpu_runtime {

// Characters [begin, end) of the original text.
using CharRange = std::pair<std::uint32_t, std::uint32_t>;

struct NormalizedText {
  std::string text;                // valid UTF-8
  std::vector<CharRange> origins;  // one a byte of text, when tracked; else empty
  bool tracked = false;
  bool at_start = true;  // it begins where the whole text does

  void clear() {
    text.clear();
    origins.clear();
  }
};

// Bytes [begin, end) of a NormalizedText that the model takes on their own.
struct Piece {
  std::uint32_t begin, end;
};

struct PreTokenizedText {
  NormalizedText normalized;
  std::vector<Piece> pieces;
};

// Tokens found so far, in the order of the text.
struct TokenList {
  std::vector<std::int32_t> ids;
  std::vector<CharRange> offsets;  // one a token, when tracked
  bool tracked = false;

  void clear() {
    ids.clear();
    offsets.clear();
  }
};

}  // namespace gpumcp::gpu_runtime
