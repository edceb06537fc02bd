#include "gpu_runtime/tokenizer_bytes.h"

#include <array>
#include <charconv>

#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::uint32_t kChars = 0x144;  // the last one is U+0143

// Printable Latin-1 stands for itself, the rest for U+0100 on, in order.
constexpr std::array<std::int16_t, kChars> kBytes = [] {
  std::array<std::int16_t, kChars> bytes{};
  for (auto& byte : bytes) byte = -1;
  std::size_t next = 0x100;
  for (std::int16_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
    bytes[printable ? static_cast<std::size_t>(b) : next++] = b;
  }
  return bytes;
}();

}  // namespace

int byte_of_char(std::uint32_t c) { return c < kChars ? kBytes[c] : -1; }

std::optional<std::string> bytes_of_token(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  for (std::size_t at = 0; at < token.size();) {
    const DecodedChar c = decode_utf8(token.data() + at);
    const int byte = byte_of_char(c.code_point);
    if (byte < 0) return {};
    bytes += static_cast<char>(byte);
    at += c.length;
  }
  return bytes;
}

std::optional<unsigned char> byte_of_fallback(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return {};
  unsigned char byte = 0;
  const auto [end, problem] = std::from_chars(token.data() + 3, token.data() + 5, byte, 16);
  if (problem != std::errc() || end != token.data() + 5) return {};
  return byte;
}

std::string utf8_lossy(std::string_view bytes) {
  std::string text;
  while (const auto bad = find_invalid_utf8(bytes)) {
    text += bytes.substr(0, *bad);
    text += "\xef\xbf\xbd";
    // As much as could still have become a character goes with it.
    std::size_t length = 1;
    while (length < 3) {
      static constexpr std::array<std::string_view, 4> kEnds{"\x80", "\x90", "\xa0", "\xbf"};
      bool possible = false;
      if (*bad + length >= bytes.size() || !is_continuation(bytes[*bad + length])) break;
      for (const std::string_view end : kEnds) {
        std::string whole(bytes.substr(*bad, length + 1));
        whole += end;
        possible = possible || !find_invalid_utf8(whole) || !find_invalid_utf8(whole + "\x80");
      }
      if (!possible) break;
      ++length;
    }
    bytes.remove_prefix(*bad + length);
  }
  return text += bytes;
}

}  // namespace gpumcp::gpu_runtime
