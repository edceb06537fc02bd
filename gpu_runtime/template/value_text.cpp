// Values as text: Python's str(), repr() and json.dumps().
#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "gpu_runtime/template/value.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  // The shortest digits that read back as this number; where the point goes is Python's rule.
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  std::string_view all(buffer, static_cast<std::size_t>(end.ptr - buffer));
  const bool negative = all.starts_with('-');
  if (negative) all.remove_prefix(1);
  const std::size_t e = all.find('e');
  std::string digits(1, all[0]);
  if (e > 2) digits += all.substr(2, e - 2);
  int exponent = 0;
  const char* from = all.data() + e + (all[e + 1] == '+' ? 2 : 1);
  std::from_chars(from, all.data() + all.size(), exponent);
  const std::string_view sign = negative ? "-" : "";
  const auto count = static_cast<int>(digits.size());
  const std::string_view all_digits = digits;
  if (exponent < -4 || exponent >= 16) {
    return fmt::format("{}{}{}{}e{}{:02}", sign, digits[0], count > 1 ? "." : "",
                       all_digits.substr(1), exponent < 0 ? '-' : '+', std::abs(exponent));
  }
  if (exponent < 0) return fmt::format("{}0.{:0<{}}{}", sign, "", -exponent - 1, digits);
  if (count <= exponent + 1)
    return fmt::format("{}{}{:0<{}}.0", sign, digits, "", exponent + 1 - count);
  const auto whole = static_cast<std::size_t>(exponent + 1);
  return fmt::format("{}{}.{}", sign, all_digits.substr(0, whole), all_digits.substr(whole));
}

bool printable(std::uint32_t c) {
  if (c == ' ') return true;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

void append_repr(std::string& out, const std::string& text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  out += quote;
  for (std::size_t at = 0; at < text.size();) {
    const DecodedChar c = decode_utf8(text.data() + at);
    if (c.code_point == static_cast<unsigned char>(quote) || c.code_point == '\\') {
      out += '\\';
      out += text[at];
    } else if (c.code_point == '\n') {
      out += "\\n";
    } else if (c.code_point == '\r') {
      out += "\\r";
    } else if (c.code_point == '\t') {
      out += "\\t";
    } else if (printable(c.code_point)) {
      out += text.substr(at, c.length);
    } else if (c.code_point < 0x100) {
      out += fmt::format("\\x{:02x}", c.code_point);
    } else if (c.code_point < 0x10000) {
      out += fmt::format("\\u{:04x}", c.code_point);
    } else {
      out += fmt::format("\\U{:08x}", c.code_point);
    }
    at += c.length;
  }
  out += quote;
}

void append_text(std::string& out, const Value& value, bool repr, Budget& budget) {
  budget.spend(value.is_string() ? 1 + value.string().size() : 4);
  if (value.is_undefined()) {
    out += repr ? "Undefined" : "";
  } else if (value.is_none()) {
    out += "None";
  } else if (value.is_bool()) {
    out += value.boolean() ? "True" : "False";
  } else if (value.is_int()) {
    out += std::to_string(value.integer());
  } else if (value.is_real()) {
    out += real_text(value.real());
  } else if (value.is_string()) {
    if (repr)
      append_repr(out, value.string());
    else
      out += value.string();
  } else if (value.is_sequence()) {
    out += value.is_tuple() ? '(' : '[';
    bool first = true;
    for (const Value& item : value.items()) {
      if (!std::exchange(first, false)) out += ", ";
      append_text(out, item, true, budget);
    }
    if (value.is_tuple() && value.items().size() == 1) out += ',';
    out += value.is_tuple() ? ')' : ']';
  } else if (value.is_dict()) {
    out += '{';
    bool first = true;
    for (const auto& [key, item] : value.entries()) {
      if (!std::exchange(first, false)) out += ", ";
      append_text(out, key, true, budget);
      out += ": ";
      append_text(out, item, true, budget);
    }
    out += '}';
  } else {
    // What these hold is not written out: a namespace may hold itself.
    out += "<";
    out += type_name(value);
    out += ">";
  }
}

void append_json_string(std::string& out, std::string_view text, bool ensure_ascii) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const DecodedChar c = decode_utf8(text.data() + at);
    switch (c.code_point) {
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
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (c.code_point < 0x20 ||
            (ensure_ascii && c.code_point > 0x7e && c.code_point < 0x10000)) {
          out += fmt::format("\\u{:04x}", c.code_point);
        } else if (ensure_ascii && c.code_point >= 0x10000) {
          const std::uint32_t rest = c.code_point - 0x10000;
          out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (rest >> 10), 0xdc00 + (rest & 0x3ff));
        } else {
          out += text.substr(at, c.length);
        }
    }
    at += c.length;
  }
  out += '"';
}

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}

  std::string write(const Value& value) {
    append(value, 0);
    return std::move(out_);
  }

 private:
  void append(const Value& value, int level) {
    budget_.spend(value.is_string() ? 1 + value.string().size() : 4);
    if (value.is_none()) {
      out_ += "null";
    } else if (value.is_bool()) {
      out_ += value.boolean() ? "true" : "false";
    } else if (value.is_int()) {
      out_ += std::to_string(value.integer());
    } else if (value.is_real()) {
      const double number = value.real();
      out_ += std::isnan(number)   ? "NaN"
              : std::isinf(number) ? (number > 0 ? "Infinity" : "-Infinity")
                                   : real_text(number);
    } else if (value.is_string()) {
      append_json_string(out_, value.string(), style_.ensure_ascii);
    } else if (value.is_sequence()) {
      list(value.items(), '[', ']', level, [&](const Value& item) { append(item, level + 1); });
    } else if (value.is_dict()) {
      Dict entries = value.entries();
      if (style_.sort_keys) {
        std::stable_sort(entries.begin(), entries.end(), [&](const auto& a, const auto& b) {
          return order(a.first, b.first, budget_) < 0;
        });
      }
      list(entries, '{', '}', level, [&](const auto& entry) {
        append_key(entry.first);
        out_ += style_.after_key;
        append(entry.second, level + 1);
      });
    } else if (value.is_undefined()) {
      throw TemplateError(value.why_undefined() + ", so it has no JSON");
    } else {
      throw TemplateError(fmt::format("a {} has no JSON", type_name(value)));
    }
  }

  void append_key(const Value& key) {
    if (key.is_string()) return append_json_string(out_, key.string(), style_.ensure_ascii);
    if (!key.is_none() && !key.is_number())
      throw TemplateError(fmt::format("a {} is no key in JSON", type_name(key)));
    out_ += '"';
    append(key, 0);
    out_ += '"';
  }

  template <class Items, class F>
  void list(const Items& items, char open, char close, int level, F&& item) {
    out_ += open;
    bool first = true;
    for (const auto& one : items) {
      if (!std::exchange(first, false)) out_ += style_.between;
      new_line(level + 1);
      item(one);
    }
    if (!items.empty()) new_line(level);
    out_ += close;
  }

  void new_line(int level) {
    if (style_.indent < 0) return;
    budget_.spend(static_cast<std::size_t>(level) * static_cast<std::size_t>(style_.indent));
    out_ += '\n';
    out_.append(static_cast<std::size_t>(level) * static_cast<std::size_t>(style_.indent), ' ');
  }

  const JsonStyle& style_;
  Budget& budget_;
  std::string out_;
};

}  // namespace

std::string to_text(const Value& value, Budget& budget) {
  std::string out;
  append_text(out, value, false, budget);
  return out;
}

std::string to_repr(const Value& value, Budget& budget) {
  std::string out;
  append_text(out, value, true, budget);
  return out;
}

std::string to_json(const Value& value, const JsonStyle& style, Budget& budget) {
  return JsonWriter(style, budget).write(value);
}

}  // namespace gpumcp::gpu_runtime::jinja
