// JSON's writing half: strings, numbers, whole values. json.cpp has the reading half.
#include <array>
#include <charconv>
#include <cmath>
#include <stdexcept>

#include "mcp/json.h"
#include "mcp/utf8.h"

namespace gpumcp::mcp {

std::string to_text(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

size_t find_invalid_utf8(std::string_view text, size_t from) {
  const auto* begin = reinterpret_cast<const unsigned char*>(text.data());
  const auto* end = begin + text.size();
  for (const auto* p = begin + from; p < end;) {
    const size_t n = utf8_length(p, end);
    if (n == 0) return static_cast<size_t>(p - begin);
    p += n;
  }
  return std::string_view::npos;
}

void append_string(std::string& out, std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  size_t run = 0, i = 0;
  auto flush = [&] { out.append(text, run, i - run); };
  while (i < text.size()) {
    const unsigned char c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\' && c < 0x80) {
      ++i;
      continue;
    }
    if (c >= 0x80) {
      const auto* p = reinterpret_cast<const unsigned char*>(text.data()) + i;
      const size_t n =
          utf8_length(p, reinterpret_cast<const unsigned char*>(text.data()) + text.size());
      if (n) {
        i += n;
        continue;
      }
      flush();
      out += "\xEF\xBF\xBD";
    } else {
      flush();
      switch (c) {
        case '"':
          out += "\\\"";
          break;
        case '\\':
          out += "\\\\";
          break;
        case '\n':
          out += "\\n";
          break;
        case '\r':
          out += "\\r";
          break;
        case '\t':
          out += "\\t";
          break;
        default:
          out += "\\u00";
          out += kHex[c >> 4];
          out += kHex[c & 15];
      }
    }
    run = ++i;
  }
  flush();
  out += '"';
}

namespace {
template <class T>
void append_chars(std::string& out, T value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  out.append(buffer.data(), end);
}

template <class T>
void append_real(std::string& out, T value) {
  if (!std::isfinite(value)) throw std::domain_error("JSON has no NaN or infinity");
  append_chars(out, value);
}
}  // namespace

void append_number(std::string& out, int64_t value) { append_chars(out, value); }
void append_number(std::string& out, uint64_t value) { append_chars(out, value); }
void append_number(std::string& out, float value) { append_real(out, value); }
void append_number(std::string& out, double value) { append_real(out, value); }

}  // namespace gpumcp::mcp
