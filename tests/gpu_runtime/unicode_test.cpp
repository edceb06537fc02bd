#include "gpu_runtime/unicode.h"

#include <doctest/doctest.h>

#include <string>

#include "gpu_runtime/bert_unicode.h"

using namespace gpumcp::gpu_runtime;

TEST_CASE("invalid UTF-8 is found at its first byte, wherever it stands") {
  struct Case {
    std::string bytes;
    std::size_t at;
  };
  for (const Case& c : {
           Case{"\x80", 0},
           Case{"a\xff", 1},
           Case{"\xc0\xaf", 0},
           Case{"\xc1\xbf", 0},
           Case{"abc\xe2\x82", 3},
           Case{"\xe0\x80\x80", 0},
           Case{"\xed\xa0\x80", 0},
           Case{"\xf0\x80\x80\x80", 0},
           Case{"\xf4\x90\x80\x80", 0},
           Case{"\xf5\x80\x80\x80", 0},
           Case{"12345678\xc3", 8},
           Case{"é\xc3(", 2},
           Case{"\xf0\x9f\x98", 0},
       }) {
    CAPTURE(c.bytes);
    CHECK(find_invalid_utf8(c.bytes) == c.at);
    CHECK(find_invalid_utf8(std::string(20, 'x') + c.bytes) == c.at + 20);
  }
  for (const std::string& text :
       {std::string(), std::string("\0", 1), std::string("é中😀\xf4\x8f\xbf\xbf\xee\x80\x80")}) {
    CHECK_FALSE(find_invalid_utf8(text).has_value());
  }
}

TEST_CASE("every code point goes out and comes back, and counts as one character") {
  for (std::uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    std::string text;
    append_utf8(text, c);
    const DecodedChar decoded = decode_utf8(text.data());
    if (decoded.code_point != c || decoded.length != text.size() || find_invalid_utf8(text) ||
        count_chars(text) != 1) {
      FAIL_CHECK("U+", c);
    }
  }
}

TEST_CASE("a character's facts are those of `tokenizers`, not of today's Unicode") {
  using namespace bert;
  CHECK(flags_of('a') == 0);
  CHECK(flags_of('A') == kCased);
  CHECK(flags_of('$') == kPunctuation);  // a symbol to Unicode
  CHECK((flags_of(0x301) & kMark) != 0);
  CHECK((flags_of(0x4e00) & kChinese) != 0);
  CHECK((flags_of(0x200b) & kRemoved) != 0);
  CHECK((flags_of(0x00a0) & kSpace) != 0);
  CHECK((flags_of(0x2e52) & kPunctuation) == 0);  // since Unicode 14
  CHECK((flags_of(0x1e136) & kMark) == 0);        // since Unicode 12
  CHECK((flags_of(0x11938) & kDecomposes) == 0);  // since Unicode 13
  CHECK((flags_of(0xac00) & kDecomposes) != 0);
  std::uint32_t parts[8], lower[2];
  CHECK(decompose(0x1ed8, parts) == 3);
  CHECK(parts[0] == 'O');
  CHECK(lower_case(0x130, lower) == 2);
  CHECK(lower_case(0x1c89, lower) == 1);
  CHECK(lower[0] == 0x1c8a);
}

TEST_CASE("word characters and white space are those of a regular expression's \\w and \\s") {
  for (const std::uint32_t c :
       {0x61u, 0x5au, 0x39u, 0x5fu, 0xe9u, 0x4e00u, 0x301u, 0x203fu, 0x200du, 0x24b6u, 0x2160u}) {
    CAPTURE(c);
    CHECK(is_word_char(c));
  }
  for (const std::uint32_t c : {0x20u, 0x2du, 0x3002u, 0x1f600u, 0xb2u, 0x24u}) {
    CAPTURE(c);
    CHECK_FALSE(is_word_char(c));
  }
  CHECK(is_white_space(0x3000));
  CHECK(is_white_space('\v'));
  CHECK_FALSE(is_white_space(0x200b));
  CHECK_FALSE(is_white_space(0x1c));
}
