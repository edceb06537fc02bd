// JSON's writing half: strings, numbers, whole values. json.cpp has the reading half.
#include <array>
#include <charconv>
#include <cmath>
#include <cstdint>
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
  const char* const end = text.data() + text.size();
  const char* run = text.data();
  for (const char* p = run; (p = find_special(p, end)) != end;) {
    const unsigned char c = static_cast<unsigned char>(*p);
    if (c >= 0x80) {
      const auto* bytes = reinterpret_cast<const unsigned char*>(p);
      if (const size_t n = utf8_length(bytes, reinterpret_cast<const unsigned char*>(end))) {
        p += n;
        continue;
      }
      out.append(run, p);
      out += "\xEF\xBF\xBD";
    } else {
      out.append(run, p);
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
    run = ++p;
  }
  out.append(run, end);
  out += '"';
}

namespace {
template <class T>
void append_chars(std::string& out, T value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  out.append(buffer.data(), end);
}

// Most doubles are decimals with few places. Such a one is found by rounding to 9 places: where
// dividing gives the double again, a reader of that decimal gets it too, and since at most 15
// digits are there and all decimals of 15 digits are different doubles, no shorter text does.
bool append_decimal(std::string& out, double value) {
  constexpr double kPlaces = 1e9;
  constexpr uint64_t kUnit = 1'000'000'000;
  const double magnitude = std::abs(value);
  if (!(magnitude >= 1e-3 && magnitude < 1e5)) return false;  // else exponents may be shorter
  const auto whole = static_cast<uint64_t>(magnitude * kPlaces + 0.5);
  if (static_cast<double>(whole) / kPlaces != magnitude) return false;
  std::array<char, 32> buffer;
  char* p = buffer.data();
  if (value < 0) *p++ = '-';
  p = std::to_chars(p, buffer.data() + buffer.size(), whole / kUnit).ptr;
  if (uint64_t places = whole % kUnit) {
    *p++ = '.';
    char* const end = p + 9;
    for (char* digit = end; digit != p; places /= 10)
      *--digit = static_cast<char>('0' + places % 10);
    p = end;
    while (p[-1] == '0') --p;
  }
  out.append(buffer.data(), p);
  return true;
}

void check_finite(double value) {
  if (!std::isfinite(value)) throw std::domain_error("JSON has no NaN or infinity");
}
}  // namespace

void append_number(std::string& out, int64_t value) { append_chars(out, value); }
void append_number(std::string& out, uint64_t value) { append_chars(out, value); }
void append_number(std::string& out, float value) {
  check_finite(value);
  append_chars(out, value);
}
void append_number(std::string& out, double value) {
  if (append_decimal(out, value)) return;
  check_finite(value);
  append_chars(out, value);
}

}  // namespace gpumcp::mcp
