// What holds for every tokenizer that loads, and every text that it encodes.
#pragma once

#include "gpu_runtime/error.h"
#include "gpu_runtime/tokenizer.h"
#include "tests/fuzz/fuzz.h"

namespace fuzz {

using namespace gpumcp::gpu_runtime;

inline void check_encoding(const Tokenizer& tokenizer, const Encoding& encoding,
                           std::string_view text) {
  const size_t n = encoding.size();
  FUZZ_CHECK(encoding.type_ids.size() == n && encoding.attention_mask.size() == n);
  FUZZ_CHECK(encoding.special_tokens_mask.size() == n);
  FUZZ_CHECK(encoding.offsets.empty() || encoding.offsets.size() == n);
  FUZZ_CHECK(encoding.n_tokens_before_truncation >= n);
  for (const auto& [begin, end] : encoding.offsets)
    FUZZ_CHECK(begin <= end && end <= text.size());  // characters are no more than bytes
  for (const int32_t id : encoding.ids) FUZZ_CHECK(id >= 0);
  (void)tokenizer.tokens(encoding);
}

// Text in, ids out, text again, in each of the ways that exist; they must agree.
// `streams`: what StreamDecoder shows adds up to the whole; a hostile decoder need not do that.
inline void check_text(const Tokenizer& tokenizer, std::string_view text, bool streams) {
  Encoding encoding;
  try {
    encoding = tokenizer.encode(text, {.return_offsets = true});
  } catch (const Error& error) {  // UTF-8, or a regular expression that takes too long
    FUZZ_CHECK(error.code() == ErrorCode::invalid_argument);
    return;
  }
  check_encoding(tokenizer, encoding, text);
  FUZZ_CHECK(tokenizer.encode(text).ids == encoding.ids);
  const std::string_view row[] = {text, text};
  const auto rows = tokenizer.encode_batch(std::span<const std::string_view>(row), {}, 1);
  FUZZ_CHECK(rows.size() == 2 && rows[0].ids == encoding.ids && rows[1].ids == encoding.ids);
  const PaddedBatch padded = tokenizer.pad(rows, {.multiple_of = 4, .side = Side::left});
  FUZZ_CHECK(padded.columns % 4 == 0 && padded.ids.size() == 2 * padded.columns);

  const size_t special = tokenizer.n_special_tokens();
  for (const Side side : {Side::left, Side::right}) {
    try {
      const Encoding cut =
          tokenizer.encode(text, {.max_length = special + 3, .truncation_side = side});
      FUZZ_CHECK(cut.size() <= special + 3 && cut.truncated == (cut.size() < encoding.size()));
      FUZZ_CHECK(cut.n_tokens_before_truncation == encoding.size());
    } catch (const Error& error) {
      FUZZ_CHECK(error.code() == ErrorCode::invalid_argument);
    }
  }
  for (const bool skip : {false, true}) {
    try {
      const std::string whole = tokenizer.decode(encoding.ids, skip);
      StreamDecoder stream(tokenizer, skip);
      std::string pieces;
      for (const int32_t id : encoding.ids) pieces += stream.push(id);
      pieces += stream.finish();
      if (streams) FUZZ_CHECK(pieces == whole);
    } catch (const Error& error) {
      FUZZ_CHECK(error.code() == ErrorCode::invalid_argument && !streams);
    }
  }
}

}  // namespace fuzz
