#pragma once

// UTF-8 and the few Unicode properties that tokenizers ask for. Free functions, callable from any
// thread. Everything but find_invalid_utf8 takes valid UTF-8: texts are checked once, at the door.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

// The offset of the first byte that is not part of valid UTF-8 (no surrogates, nothing overlong,
// nothing above U+10FFFF); nullopt: all is well.
GPUMCP_RUNTIME_API std::optional<std::size_t> find_invalid_utf8(std::string_view text);

struct DecodedChar {
  std::uint32_t code_point = 0;
  std::uint32_t length = 0;  // bytes
};

inline DecodedChar decode_utf8(const char* at) {
  const auto byte = [at](int i) {
    return static_cast<std::uint32_t>(static_cast<unsigned char>(at[i]));
  };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  if (first < 0xe0) return {(first & 0x1f) << 6 | (byte(1) & 0x3f), 2};
  if (first < 0xf0) return {(first & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f), 3};
  return {(first & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f),
          4};
}

void append_utf8(std::string& to, std::uint32_t code_point);

// Code points in the text: its length as Python counts.
std::size_t count_chars(std::string_view text);

constexpr bool is_continuation(char byte) {
  return (static_cast<unsigned char>(byte) & 0xc0) == 0x80;
}

// The Unicode property White_Space: what \s matches.
bool is_white_space(std::uint32_t code_point);

// What \w matches: letters, marks, decimal digits, connectors, joiners.
bool is_word_char(std::uint32_t code_point);

}  // namespace gpumcp::gpu_runtime
