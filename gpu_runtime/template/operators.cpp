#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "gpu_runtime/template/interpreter.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

[[noreturn]] void fail_operands(std::string_view op, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (value->is_undefined()) throw TemplateError(value->why_undefined());
  }
  throw TemplateError(fmt::format("unsupported operand type(s) for {}: '{}' and '{}'", op,
                                  type_name(a), type_name(b)));
}

[[noreturn]] void fail_overflow(std::string_view op) {
  throw TemplateError(fmt::format("the result of {} does not fit 64 bits", op));
}

Value repeat(const Value& what, std::int64_t times, Budget& budget) {
  const auto count = static_cast<std::size_t>(std::max<std::int64_t>(0, times));
  const std::size_t size = what.is_string() ? what.string().size() : what.items().size();
  if (size > 0 && count > 100'000'000 / size) throw TemplateError("the result of * is too large");
  budget.spend(count * size);
  if (what.is_string()) {
    std::string out;
    out.reserve(count * size);
    for (std::size_t i = 0; i < count && size > 0; ++i) out += what.string();
    return out;
  }
  List out;
  for (std::size_t i = 0; i < count && size > 0; ++i)
    out.insert(out.end(), what.items().begin(), what.items().end());
  return what.is_tuple() ? Value::tuple(std::move(out)) : Value::list(std::move(out));
}

Value add(const Value& a, const Value& b, Budget& budget) {
  if (a.is_string() && b.is_string()) {
    budget.spend(a.string().size() + b.string().size());
    return a.string() + b.string();
  }
  if (a.is_sequence() && b.is_sequence() && a.is_tuple() == b.is_tuple()) {
    budget.spend(a.items().size() + b.items().size());
    List out = a.items();
    out.insert(out.end(), b.items().begin(), b.items().end());
    return a.is_tuple() ? Value::tuple(std::move(out)) : Value::list(std::move(out));
  }
  fail_operands("+", a, b);
}

std::int64_t integer_power(std::int64_t base, std::int64_t exponent) {
  std::int64_t out = 1;
  if (base == 0 || base == 1) return exponent == 0 ? 1 : base;
  if (base == -1) return exponent % 2 == 0 ? 1 : -1;
  for (std::int64_t i = 0; i < exponent; ++i) {
    if (__builtin_mul_overflow(out, base, &out)) fail_overflow("**");
  }
  return out;
}

Value integers(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t out = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &out);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &out);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &out);
  } else if (op == "**") {
    if (b < 0) return std::pow(static_cast<double>(a), static_cast<double>(b));
    out = integer_power(a, b);
  } else {
    if (b == 0) throw TemplateError("division by zero");
    if (op == "/") return static_cast<double>(a) / static_cast<double>(b);
    if (a == std::numeric_limits<std::int64_t>::min() && b == -1) fail_overflow(op);
    const std::int64_t rest = a % b;
    const bool down = rest != 0 && (rest < 0) != (b < 0);  // towards minus infinity
    out = op == "//" ? a / b - (down ? 1 : 0) : rest + (down ? b : 0);
  }
  if (overflow) fail_overflow(op);
  return out;
}

Value reals(std::string_view op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") return std::pow(a, b);
  if (b == 0) throw TemplateError("division by zero");
  if (op == "/") return a / b;
  if (op == "//") return std::floor(a / b);
  const double rest = std::fmod(a, b);
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

}  // namespace

Value apply_unary(std::string_view op, const Value& value) {
  if (op == "not") return !value.truth();
  if (value.is_undefined()) throw TemplateError(value.why_undefined());
  if (!value.is_number())
    throw TemplateError(fmt::format("bad operand type for unary {}: '{}'", op, type_name(value)));
  if (value.is_real()) return op == "-" ? -value.real() : value.real();
  if (value.integer() == std::numeric_limits<std::int64_t>::min()) fail_overflow(op);
  return op == "-" ? -value.integer() : value.integer();
}

Value apply_binary(std::string_view op, const Value& a, const Value& b, Budget& budget) {
  if (a.is_number() && b.is_number()) {
    if (a.is_real() || b.is_real()) return reals(op, a.real(), b.real());
    return integers(op, a.integer(), b.integer());
  }
  if (op == "+") return add(a, b, budget);
  if (op == "*") {
    if ((a.is_string() || a.is_sequence()) && (b.is_int() || b.is_bool()))
      return repeat(a, b.integer(), budget);
    if ((b.is_string() || b.is_sequence()) && (a.is_int() || a.is_bool()))
      return repeat(b, a.integer(), budget);
  }
  fail_operands(op, a, b);
}

SliceRange slice_range(std::int64_t size, const Value& begin, const Value& end, const Value& step) {
  auto bound = [&](const Value& value, std::int64_t fallback) {
    if (value.is_none()) return fallback;
    if (!value.is_int() && !value.is_bool())
      throw TemplateError("slice indices must be integers or None");
    return value.integer();
  };
  SliceRange out;
  out.step = bound(step, 1);
  if (out.step == 0) throw TemplateError("slice step cannot be zero");
  out.step = std::clamp<std::int64_t>(out.step, -(std::int64_t{1} << 40), std::int64_t{1} << 40);
  const bool forward = out.step > 0;
  const std::int64_t lowest = forward ? 0 : -1, highest = forward ? size : size - 1;
  auto place = [&](const Value& value, std::int64_t fallback) {
    std::int64_t at = bound(value, fallback);
    if (value.is_none()) return at;
    if (at < 0) at = at < -size ? lowest : at + size;
    return std::clamp(at, lowest, highest);
  };
  out.begin = place(begin, forward ? 0 : size - 1);
  const std::int64_t stop = place(end, forward ? size : -1);
  const std::int64_t distance = forward ? stop - out.begin : out.begin - stop;
  const std::int64_t stride = forward ? out.step : -out.step;
  out.count = distance > 0 ? (distance + stride - 1) / stride : 0;
  return out;
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  out.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = decode_utf8(text.data() + at).length;
    out.push_back(text.substr(at, length));
    at += length;
  }
  return out;
}

}  // namespace gpumcp::gpu_runtime::jinja
