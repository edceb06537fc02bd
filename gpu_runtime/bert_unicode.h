#pragma once

// What BERT tokenizers take a character for. Not quite Unicode: `tokenizers` froze its tables years
// ago, and ids must equal its ids, so the properties come from a measured table
// (bert_unicode_tables.h) and only decompositions, combining classes and lower case, which Unicode
// never changes once given, from utf8proc. Immutable after the first use; callable from any thread.
#include <cstdint>

namespace gpumcp::gpu_runtime::bert {

enum CharFlags : std::uint8_t {
  kRemoved = 1,       // by clean_text
  kSpace = 2,         // becomes a space by clean_text
  kChinese = 4,       // gets spaces around it
  kDecomposes = 8,    // NFD makes something else of it
  kNonstarter = 16,   // has a combining class other than 0
  kMark = 32,         // nonspacing (Mn): removed by strip_accents
  kPunctuation = 64,  // a piece of its own
  kCased = 128,       // lower-casing changes it
};

std::uint8_t flags_of(std::uint32_t code_point);

// The canonical decomposition; at most 4 code points, written to `to`. Returns how many.
int decompose(std::uint32_t code_point, std::uint32_t (&to)[8]);

int combining_class(std::uint32_t code_point);

// U+0130 makes two; all others one.
int lower_case(std::uint32_t code_point, std::uint32_t (&to)[2]);

}  // namespace gpumcp::gpu_runtime::bert
