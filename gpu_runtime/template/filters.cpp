// The table of filters, and those that take any value.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "gpu_runtime/template/builtins.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

Value do_default(Interpreter&, const Value& subject, const Arguments& given) {
  const Bound args("default", given, {"default_value", "boolean"});
  const bool replace = subject.is_undefined() || (args.truth(1, false) && !subject.truth());
  if (!replace) return subject;
  return args[0] == nullptr ? Value(std::string()) : *args[0];
}

Value do_length(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("length", given, {});
  if (subject.is_string()) {
    in.budget().spend(subject.string().size());
    return static_cast<std::int64_t>(characters(subject.string()).size());
  }
  if (subject.is_sequence()) return static_cast<std::int64_t>(subject.items().size());
  if (subject.is_dict()) return static_cast<std::int64_t>(subject.entries().size());
  if (subject.is_undefined()) return std::int64_t{0};
  throw TemplateError(fmt::format("object of type '{}' has no length", type_name(subject)));
}

Value do_string(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("string", given, {});
  return in.text(subject);
}

Value do_int(Interpreter&, const Value& subject, const Arguments& given) {
  const Bound args("int", given, {"default", "base"});
  const std::int64_t fallback = args.integer(0, 0), base = args.integer(1, 10);
  if (subject.is_undefined()) throw TemplateError(subject.why_undefined());
  if (subject.is_int() || subject.is_bool()) return subject.integer();
  double real = 0;
  if (subject.is_string()) {
    std::string text(strip(subject.string(), {}, true, true));
    std::erase(text, '_');
    std::int64_t value = 0;
    const char* begin = text.data() + (text.starts_with('+') ? 1 : 0);
    const char* end = text.data() + text.size();
    const int radix = base >= 2 && base <= 36 ? static_cast<int>(base) : 10;
    auto [at, error] = std::from_chars(begin, end, value, radix);
    if (error == std::errc() && at == end) return value;
    auto [real_at, real_error] = std::from_chars(begin, end, real);
    if (real_error != std::errc() || real_at != end) return fallback;
  } else if (subject.is_real()) {
    real = subject.real();
  } else {
    return fallback;
  }
  if (!(std::fabs(real) < 9e18)) return fallback;
  return static_cast<std::int64_t>(real);
}

Value do_float(Interpreter&, const Value& subject, const Arguments& given) {
  const Bound args("float", given, {"default"});
  const double fallback = args.given(0) && args[0]->is_number() ? args[0]->real() : 0.0;
  if (subject.is_undefined()) throw TemplateError(subject.why_undefined());
  if (subject.is_number()) return subject.real();
  if (!subject.is_string()) return fallback;
  const std::string_view text = strip(subject.string(), {}, true, true);
  double value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && at == text.data() + text.size() ? value : fallback;
}

Value do_abs(Interpreter&, const Value& subject, const Arguments& given) {
  const Bound args("abs", given, {});
  if (!subject.is_number())
    throw TemplateError(fmt::format("bad operand type for abs(): '{}'", type_name(subject)));
  if (subject.is_real()) return std::fabs(subject.real());
  return subject.integer() < 0 ? apply_unary("-", subject) : Value(subject.integer());
}

Value do_round(Interpreter&, const Value& subject, const Arguments& given) {
  const Bound args("round", given, {"precision", "method"});
  const auto precision = std::clamp<std::int64_t>(args.integer(0, 0), -300, 300);
  const std::string method = args.string(1, "common");
  if (!subject.is_number())
    throw TemplateError(fmt::format("a '{}' cannot be rounded", type_name(subject)));
  const double scale = std::pow(10.0, static_cast<double>(precision));
  const double value = subject.real() * scale;
  if (method == "ceil") return std::ceil(value) / scale;
  if (method == "floor") return std::floor(value) / scale;
  if (method != "common") throw TemplateError("method must be common, ceil or floor");
  if (subject.is_int() && precision >= 0) return subject.integer();
  // Halves go to the even neighbour, as Python's round() has it.
  return std::nearbyint(value) / scale;
}

Value do_tojson(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("tojson", given, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = args.truth(0, false);
  style.sort_keys = args.truth(3, false);
  if (args.given(1)) {
    style.indent = static_cast<int>(std::clamp<std::int64_t>(args.integer(1, 0), 0, 64));
    style.between = std::string(1, ',');
  }
  if (args.given(2)) {
    const List parts = in.iterate(*args[2]);
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string())
      throw TemplateError("tojson: 'separators' must be two strings");
    style.between = parts[0].string();
    style.after_key = parts[1].string();
  }
  return to_json(subject, style, in.budget());
}

Value do_pass(Interpreter&, const Value& subject, const Arguments& given) {
  const Bound args("safe", given, {});
  return subject;
}

Value do_attr(Interpreter& in, const Value& subject, const Arguments& given) {
  const Bound args("attr", given, {"name"});
  return in.attribute(subject, args.string(0));
}

constexpr Filter kFilters[] = {
    {"abs", do_abs},         {"attr", do_attr},   {"count", do_length},  {"d", do_default},
    {"default", do_default}, {"float", do_float}, {"int", do_int},       {"length", do_length},
    {"round", do_round},     {"safe", do_pass},   {"string", do_string}, {"tojson", do_tojson},
};

}  // namespace

const Filter* find_filter(std::string_view name) {
  for (const Filter& filter : kFilters) {
    if (filter.name == name) return &filter;
  }
  const Filter* found = find_text_filter(name);
  return found != nullptr ? found : find_sequence_filter(name);
}

}  // namespace gpumcp::gpu_runtime::jinja
