// Well-formed UTF-8, for the JSON scanner and writers. Private to mcp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gpumcp::mcp {

// Length of the well-formed UTF-8 sequence at `p`, 0 if there is none (Unicode 15, table 3-7).
inline size_t utf8_length(const unsigned char* p, const unsigned char* end) {
  const unsigned char c = *p;
  if (c < 0x80) return 1;
  auto continuation = [&](size_t i, unsigned char low = 0x80, unsigned char high = 0xBF) {
    return p + i < end && p[i] >= low && p[i] <= high;
  };
  if (c >= 0xC2 && c <= 0xDF) return continuation(1) ? 2 : 0;
  if (c >= 0xE0 && c <= 0xEF) {
    const unsigned char low = c == 0xE0 ? 0xA0 : 0x80;
    const unsigned char high = c == 0xED ? 0x9F : 0xBF;
    return continuation(1, low, high) && continuation(2) ? 3 : 0;
  }
  if (c >= 0xF0 && c <= 0xF4) {
    const unsigned char low = c == 0xF0 ? 0x90 : 0x80;
    const unsigned char high = c == 0xF4 ? 0x8F : 0xBF;
    return continuation(1, low, high) && continuation(2) && continuation(3) ? 4 : 0;
  }
  return 0;
}

// The first character from `p` on that a JSON string cannot hold as it is, or that is not ASCII:
// a quote, a backslash, a control character, a byte of 0x80 or more.
inline const char* find_special(const char* p, const char* end) {
  constexpr uint64_t kOnes = 0x0101010101010101u, kHighs = 0x8080808080808080u;
  while (end - p >= 8) {
    uint64_t word;
    std::memcpy(&word, p, 8);
    const uint64_t quote = word ^ (kOnes * '"'), backslash = word ^ (kOnes * '\\');
    // A byte's high bit is set where it is zero after the subtraction borrowed; bytes behind the
    // first hit may show falsely, so the hit is looked for again below.
    if ((((quote - kOnes) & ~quote) | ((backslash - kOnes) & ~backslash) |
         ((word - kOnes * 0x20) & ~word) | word) &
        kHighs)
      break;
    p += 8;
  }
  while (p != end) {
    const unsigned char c = static_cast<unsigned char>(*p);
    if (c < 0x20 || c == '"' || c == '\\' || c >= 0x80) break;
    ++p;
  }
  return p;
}

}  // namespace gpumcp::mcp
