// What filters and methods do to text, and how they take arguments.
#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>

#include "gpu_runtime/template/builtins.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

// Python's str.isspace(): White_Space and four separators of ASCII.
bool is_space(std::uint32_t c) { return is_white_space(c) || (c >= 0x1c && c <= 0x1f); }

template <class F>
std::string mapped(std::string_view text, F&& f) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const DecodedChar c = decode_utf8(text.data() + at);
    append_utf8(out, static_cast<std::uint32_t>(f(static_cast<utf8proc_int32_t>(c.code_point))));
    at += c.length;
  }
  return out;
}

}  // namespace

Bound::Bound(std::string_view function, const Arguments& arguments,
             std::initializer_list<std::string_view> names)
    : function_(function), names_(names), values_(names.size()) {
  if (arguments.positional.size() > names_.size()) {
    throw TemplateError(fmt::format("{} takes at most {} arguments, {} were given", function_,
                                    names_.size(), arguments.positional.size()));
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i)
    values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(names_.begin(), names_.end(), std::string_view(name));
    if (found == names_.end())
      throw TemplateError(fmt::format("{} has no argument '{}'", function_, name));
    values_[static_cast<std::size_t>(found - names_.begin())] = &value;
  }
}

void Bound::fail(std::size_t i, std::string_view expected) const {
  if (values_[i] != nullptr && values_[i]->is_undefined())
    throw TemplateError(values_[i]->why_undefined());
  throw TemplateError(fmt::format(
      "{}: '{}' must be {}, not {}", function_, names_[i], expected,
      values_[i] == nullptr ? "left out" : fmt::format("a '{}'", type_name(*values_[i]))));
}

const Value& Bound::required(std::size_t i) const {
  if (values_[i] == nullptr) fail(i, "given");
  return *values_[i];
}
const std::string& Bound::string(std::size_t i) const {
  if (values_[i] == nullptr || !values_[i]->is_string()) fail(i, "a string");
  return values_[i]->string();
}
std::string Bound::string(std::size_t i, std::string_view fallback) const {
  return given(i) ? string(i) : std::string(fallback);
}
std::int64_t Bound::integer(std::size_t i, std::int64_t fallback) const {
  if (!given(i)) return fallback;
  if (!values_[i]->is_int() && !values_[i]->is_bool()) fail(i, "an integer");
  return values_[i]->integer();
}
bool Bound::truth(std::size_t i, bool fallback) const {
  return values_[i] == nullptr ? fallback : values_[i]->truth();
}

void put(Dict& entries, Value key, Value value, Budget& budget) {
  if (key.is_sequence() || key.is_dict())
    throw TemplateError(fmt::format("a '{}' cannot be a key", type_name(key)));
  for (auto& [had, old] : entries) {
    if (!equals(had, key, budget)) continue;
    old = std::move(value);
    return;
  }
  entries.emplace_back(std::move(key), std::move(value));
}

std::string_view strip(std::string_view text, std::string_view set, bool left, bool right) {
  const std::vector<std::string_view> wanted = characters(set);
  auto goes = [&](std::string_view character) {
    if (set.empty()) return is_space(decode_utf8(character.data()).code_point);
    return std::find(wanted.begin(), wanted.end(), character) != wanted.end();
  };
  while (left && !text.empty()) {
    const std::size_t length = decode_utf8(text.data()).length;
    if (!goes(text.substr(0, length))) break;
    text.remove_prefix(length);
  }
  while (right && !text.empty()) {
    std::size_t length = 1;
    while (is_continuation(text[text.size() - length])) ++length;
    if (!goes(text.substr(text.size() - length))) break;
    text.remove_suffix(length);
  }
  return text;
}

std::string upper(std::string_view text) {
  std::string out;
  for (const std::string_view character : characters(text)) {
    // The one letter of Western Europe that becomes two.
    out += character == "\xc3\x9f" ? "SS" : mapped(character, utf8proc_toupper);
  }
  return out;
}
std::string lower(std::string_view text) { return mapped(text, utf8proc_tolower); }

std::string capitalize(std::string_view text) {
  if (text.empty()) return {};
  const std::size_t first = decode_utf8(text.data()).length;
  return mapped(text.substr(0, first), utf8proc_totitle) + lower(text.substr(first));
}

// Jinja's, not Python's: a word begins behind blanks, hyphens and opening brackets.
std::string title(std::string_view text) {
  std::string out;
  bool begins = true;
  for (const std::string_view character : characters(text)) {
    const DecodedChar c = decode_utf8(character.data());
    const bool between = is_space(c.code_point) ||
                         std::string_view("-({[<").find(character) != std::string_view::npos;
    out += between  ? std::string(character)
           : begins ? mapped(character, utf8proc_toupper)
                    : lower(character);
    begins = between;
  }
  return out;
}

std::string replace_all(std::string_view text, std::string_view from, std::string_view to,
                        std::int64_t count, Budget& budget) {
  std::string out;
  std::size_t at = 0;
  if (from.empty()) {  // between all characters
    for (const std::string_view character : characters(text)) {
      if (count-- != 0) out += to;
      budget.spend(to.size() + 1);
      out += character;
    }
    return count != 0 ? out += to : out;
  }
  budget.spend(text.size());
  while (count != 0) {
    const std::size_t found = text.find(from, at);
    if (found == text.npos) break;
    budget.spend(to.size() + 1);
    out += text.substr(at, found - at);
    out += to;
    at = found + from.size();
    if (count > 0) --count;
  }
  return out += text.substr(at);
}

}  // namespace gpumcp::gpu_runtime::jinja
