#include "mcp/schema/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace gpumcp::mcp::schema {
namespace {

constexpr double kTwo64 = 18446744073709551616.0, kTwo63 = 9223372036854775808.0;

template <class A, class B>
std::partial_ordering compare_integers(A a, B b) {
  if (std::cmp_less(a, b)) return std::partial_ordering::less;
  if (std::cmp_greater(a, b)) return std::partial_ordering::greater;
  return std::partial_ordering::equivalent;
}

template <class Integer>
std::partial_ordering compare_with_double(Integer a, double b) {
  if (std::isnan(b)) return std::partial_ordering::unordered;
  if (b >= kTwo64) return std::partial_ordering::less;
  if (b < -kTwo63) return std::partial_ordering::greater;
  const double whole = std::trunc(b);
  const auto order = whole >= 0 ? compare_integers(a, static_cast<uint64_t>(whole))
                                : compare_integers(a, static_cast<int64_t>(whole));
  return order == 0 ? 0.0 <=> (b - whole) : order;
}

// Calls `f` with the number as int64_t, uint64_t or double.
template <class F>
auto with_number(const Json& value, F&& f) {
  if (value.is_number_unsigned()) return f(value.get<uint64_t>());
  if (value.is_number_integer()) return f(value.get<int64_t>());
  return f(value.get<double>());
}

// |number| == digits * 10^exponent. digits fit 64 bits: doubles have at most 17 in their shortest
// form.
struct Decimal {
  uint64_t digits = 0;
  int exponent = 0;
};

Decimal to_decimal(double number) {
  char text[32];
  const auto end =
      std::to_chars(text, text + sizeof text, std::abs(number), std::chars_format::scientific);
  Decimal out;
  const char* p = text;
  bool behind_point = false;
  for (; p != end.ptr && *p != 'e'; ++p) {
    if (*p == '.') {
      behind_point = true;
      continue;
    }
    out.digits = out.digits * 10 + static_cast<uint64_t>(*p - '0');
    if (behind_point) --out.exponent;
  }
  if (p != end.ptr) {
    ++p;  // 'e', then a sign that from_chars takes only as '-'
    if (*p == '+') ++p;
    int exponent = 0;
    std::from_chars(p, end.ptr, exponent);
    out.exponent += exponent;
  }
  return out;
}
Decimal to_decimal(uint64_t number) { return {number, 0}; }
Decimal to_decimal(int64_t number) {
  return {number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number), 0};
}

using Wide = unsigned __int128;

uint64_t power_of_ten_modulo(int exponent, uint64_t modulus) {
  Wide result = 1 % modulus, base = 10 % modulus;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) result = result * base % modulus;
    base = base * base % modulus;
  }
  return static_cast<uint64_t>(result);
}

bool finite(const Json& number) {
  return !number.is_number_float() || std::isfinite(number.get<double>());
}

void append_canonical(std::string& out, const Json& value) {
  auto sized = [&](char mark, std::string_view text) {
    ((out += mark) += std::to_string(text.size())) += ':';
    out += text;
  };
  switch (value.type()) {
    case Json::value_t::null:
      out += 'n';
      return;
    case Json::value_t::boolean:
      out += value.get<bool>() ? 't' : 'f';
      return;
    case Json::value_t::string:
      return sized('s', value.get_ref<const std::string&>());
    case Json::value_t::array:
      out += '[';
      for (const Json& item : value) append_canonical(out, item);
      out += ']';
      return;
    case Json::value_t::object: {
      std::vector<std::pair<std::string_view, const Json*>> members;
      members.reserve(value.size());
      for (auto it = value.begin(); it != value.end(); ++it) members.emplace_back(it.key(), &*it);
      std::sort(members.begin(), members.end(),
                [](const auto& a, const auto& b) { return a.first < b.first; });
      out += '{';
      for (const auto& [key, member] : members) {
        sized('k', key);
        append_canonical(out, *member);
      }
      out += '}';
      return;
    }
    default:
      out += '#';
      if (value.is_number_float()) {
        const double number = value.get<double>();
        if (is_integer(value) && number < kTwo64 && number >= -kTwo63) {
          out += number >= 0 ? std::to_string(static_cast<uint64_t>(number))
                             : std::to_string(static_cast<int64_t>(number));
        } else {
          char text[32];
          out.append(text, std::to_chars(text, text + sizeof text, number).ptr);
        }
      } else {
        out += value.is_number_unsigned() ? std::to_string(value.get<uint64_t>())
                                          : std::to_string(value.get<int64_t>());
      }
      out += ';';
  }
}

}  // namespace

std::partial_ordering compare_numbers(const Json& a, const Json& b) {
  return with_number(a, [&](auto x) {
    return with_number(b, [&](auto y) -> std::partial_ordering {
      using X = decltype(x);
      using Y = decltype(y);
      if constexpr (std::is_same_v<X, double> && std::is_same_v<Y, double>)
        return x <=> y;
      else if constexpr (std::is_same_v<Y, double>)
        return compare_with_double(x, y);
      else if constexpr (std::is_same_v<X, double>)
        return 0 <=> compare_with_double(y, x);
      else
        return compare_integers(x, y);
    });
  });
}

bool is_integer(const Json& value) {
  if (value.is_number_integer()) return true;
  if (!value.is_number_float()) return false;
  const double number = value.get<double>();
  return std::isfinite(number) && std::trunc(number) == number;
}

bool is_multiple_of(const Json& value, const Json& divisor) {
  if (!finite(value) || !finite(divisor)) return false;
  auto decimal = [](auto number) { return to_decimal(number); };
  const Decimal a = with_number(value, decimal), b = with_number(divisor, decimal);
  if (a.digits == 0) return true;
  if (b.digits == 0) return false;
  const int shift = a.exponent - b.exponent;
  if (shift >= 0)
    return static_cast<Wide>(a.digits % b.digits) * power_of_ten_modulo(shift, b.digits) %
               b.digits ==
           0;
  if (shift < -19) return false;  // the divisor's digits, shifted, are beyond any 64 bits
  Wide scaled = b.digits;
  for (int i = shift; i < 0; ++i) scaled *= 10;  // at most 1.9e19 * 1e19: fits 128 bits
  return static_cast<Wide>(a.digits) % scaled == 0;
}

std::string canonical_text(const Json& value) {
  std::string out;
  append_canonical(out, value);
  return out;
}

bool nested_deeper_than(const Json& value, int levels) {
  if (!value.is_structured()) return false;
  if (levels <= 0) return true;
  return std::any_of(value.begin(), value.end(),
                     [&](const Json& item) { return nested_deeper_than(item, levels - 1); });
}

std::size_t count_characters(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::count_if(utf8.begin(), utf8.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace gpumcp::mcp::schema
