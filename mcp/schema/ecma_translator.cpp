// ECMA-262 to RE2, one character after another.
#include <fmt/format.h>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <utility>

#include "mcp/schema/characters.h"
#include "mcp/schema/ecma_regex.h"
#include "mcp/schema/ecma_tables.h"
#include "mcp/utf8.h"

namespace gpumcp::mcp::schema {
namespace {

constexpr size_t kMaxPatternBytes = 16 << 10;

bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

struct PatternError : std::runtime_error {
  using runtime_error::runtime_error;
};

// One pass, no recursion: groups need only be counted, since RE2 parses the result again.
class Translator {
 public:
  explicit Translator(std::string_view in) : in_(in) {}

  std::string run() {
    while (at_ < in_.size()) {
      const char c = in_[at_];
      if (c == '\\') {
        ++at_;
        escape_outside();
      } else if (c == '[') {
        ++at_;
        character_class();
      } else if (c == '(') {
        ++at_;
        open_group();
      } else if (c == '.') {
        ++at_;
        out_ += kDot;
      } else if (c == '{') {
        quantifier_or_brace();
      } else if (std::string_view(")|*+?^$").find(c) != std::string_view::npos) {
        ++at_;
        out_ += c;
      } else {
        literal(code_point());
      }
    }
    return std::move(out_);
  }

 private:
  [[noreturn]] void error(const std::string& what) const {
    throw PatternError(fmt::format("at byte {}: {}", at_, what));
  }

  uint32_t code_point() {
    const auto* p = reinterpret_cast<const unsigned char*>(in_.data()) + at_;
    const size_t n =
        utf8_length(p, reinterpret_cast<const unsigned char*>(in_.data()) + in_.size());
    if (n == 0) error("invalid UTF-8");
    at_ += n;
    if (n == 1) return *p;
    uint32_t c = *p & (0x7Fu >> n);
    for (size_t i = 1; i < n; ++i) c = (c << 6) | (p[i] & 0x3Fu);
    return c;
  }

  void literal(uint32_t c) {
    if (c < 0x80 && (letter(static_cast<char>(c)) || digit(static_cast<char>(c))))
      out_ += static_cast<char>(c);
    else
      out_ += fmt::format("\\x{{{:x}}}", c);
  }

  std::optional<uint32_t> hex_digits(size_t n) {
    if (in_.size() - at_ < n) return std::nullopt;
    uint32_t value = 0;
    for (size_t i = 0; i < n; ++i) {
      const char c = in_[at_ + i];
      const int d = digit(c)               ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
      if (d < 0) return std::nullopt;
      value = value * 16 + static_cast<uint32_t>(d);
    }
    at_ += n;
    return value;
  }

  // Behind "\u".
  uint32_t unicode_escape() {
    if (at_ < in_.size() && in_[at_] == '{') {
      const size_t close = in_.find('}', at_);
      const size_t n = close == in_.npos ? 0 : close - at_ - 1;
      ++at_;
      const auto value = n >= 1 && n <= 6 ? hex_digits(n) : std::nullopt;
      if (!value || *value > 0x10FFFF) error("\\u{...} wants a code point in hexadecimal");
      ++at_;
      return *value;
    }
    const auto high = hex_digits(4);
    if (!high) error("\\u wants four hexadecimal digits");
    if (*high >= 0xD800 && *high <= 0xDBFF && in_.substr(at_).starts_with("\\u")) {
      const size_t back = at_;
      at_ += 2;
      const auto low = hex_digits(4);
      if (low && *low >= 0xDC00 && *low <= 0xDFFF)
        return 0x10000 + ((*high - 0xD800) << 10) + (*low - 0xDC00);
      at_ = back;
    }
    return *high;
  }

  // An escape that stands for one character, behind the backslash; nullopt: it is another kind.
  std::optional<uint32_t> character_escape() {
    const char c = in_[at_];
    static constexpr std::string_view kNames = "tnvfr", kValues = "\t\n\v\f\r";
    if (const size_t i = kNames.find(c); i != kNames.npos) {
      ++at_;
      return static_cast<uint32_t>(kValues[i]);
    }
    if (c == '0' && (at_ + 1 == in_.size() || !digit(in_[at_ + 1]))) {
      ++at_;
      return 0;
    }
    if (c == 'c' && at_ + 1 < in_.size() && letter(in_[at_ + 1])) {
      at_ += 2;
      return static_cast<uint32_t>(in_[at_ - 1]) % 32;
    }
    if (c == 'x') {
      ++at_;
      const auto value = hex_digits(2);
      if (!value) error("\\x wants two hexadecimal digits");
      return value;
    }
    if (c == 'u') {
      ++at_;
      return unicode_escape();
    }
    // The syntax characters, and (as browsers do without the u flag) any other that is no letter.
    if (!letter(c) && !digit(c)) return code_point();
    return std::nullopt;
  }

  // \d \D \w \W \s \S \p \P, behind the backslash, written for the inside of a class.
  std::optional<std::string> class_escape() {
    const char c = in_[at_];
    if (std::string_view("dDwW").find(c) != std::string_view::npos) {
      ++at_;
      return std::string{'\\', c};
    }
    if (c == 's' || c == 'S') {
      ++at_;
      return std::string(c == 's' ? kSpace : kNoSpace);
    }
    if (c != 'p' && c != 'P') return std::nullopt;
    const size_t close = in_.find('}', at_);
    if (at_ + 1 >= in_.size() || in_[at_ + 1] != '{' || close == in_.npos)
      error("\\p wants a property in braces: \\p{Letter}");
    std::string_view name = in_.substr(at_ + 2, close - at_ - 2);
    if (const size_t equals = name.find('='); equals != name.npos) {
      const std::string_view key = name.substr(0, equals);
      if (key != "General_Category" && key != "gc" && key != "Script" && key != "sc")
        error(fmt::format("the property {} is not supported", key.substr(0, 40)));
      name.remove_prefix(equals + 1);
    }
    for (char n : name) {
      if (!letter(n) && n != '_') error("a property's name has letters and '_' only");
    }
    at_ = close + 1;
    for (const auto& [longer, shorter] : kCategories) {
      if (name != longer) continue;
      if (shorter[0] != '[') return fmt::format("\\{}{{{}}}", c, shorter);
      if (c == 'P') error(fmt::format("\\P{{{}}} is not supported", name));
      return std::string(shorter.substr(1, shorter.size() - 2));
    }
    if (name == "Any") return std::string(c == 'p' ? "\\x00-\\x{10ffff}" : "");
    if (name == "ASCII") return std::string(c == 'p' ? "\\x00-\\x7f" : "\\x{80}-\\x{10ffff}");
    return fmt::format("\\{}{{{}}}", c, name);  // a short category, a script, or RE2 refuses it
  }

  void escape_outside() {
    if (at_ == in_.size()) error("a backslash stands at the end");
    const char c = in_[at_];
    if (c == 'b' || c == 'B') {
      ++at_;
      (out_ += '\\') += c;
    } else if ((c >= '1' && c <= '9') || c == 'k') {
      error("back-references are not supported: matching them takes exponential time");
    } else if (auto set = class_escape()) {
      if (set->empty())
        out_ += kNothing;
      else
        ((out_ += '[') += *set) += ']';
    } else if (auto character = character_escape()) {
      literal(*character);
    } else {
      error(fmt::format("\\{} is no escape of ECMA-262", c));
    }
  }

  // One member of a class: a character, or a set (then in `set`).
  std::optional<uint32_t> class_atom(std::string& set) {
    if (in_[at_] != '\\') return code_point();
    if (++at_ == in_.size()) error("a backslash stands at the end");
    if (in_[at_] == 'b') {
      ++at_;
      return 8;
    }
    if (in_[at_] == '-') {
      ++at_;
      return '-';
    }
    if (auto found = class_escape()) {
      set = std::move(*found);
      return std::nullopt;
    }
    const char c = in_[at_];
    const auto character = character_escape();
    if (!character) error(fmt::format("\\{} is no escape of ECMA-262 inside a class", c));
    return character;
  }

  void character_class() {
    const bool negated = at_ < in_.size() && in_[at_] == '^';
    if (negated) ++at_;
    const size_t mark = out_.size();
    out_ += negated ? "[^" : "[";
    bool empty = true;
    while (true) {
      if (at_ >= in_.size()) error("a class is not closed: ']' is missing");
      if (in_[at_] == ']') break;
      std::string set;
      const auto low = class_atom(set);
      if (!low) {
        empty = empty && set.empty();
        out_ += set;
        continue;
      }
      empty = false;
      literal(*low);
      // "a-z"; a '-' before ']' or beside a set stands for itself.
      if (at_ + 1 >= in_.size() || in_[at_] != '-' || in_[at_ + 1] == ']') continue;
      ++at_;
      const auto high = class_atom(set);
      if (!high) {
        literal('-');
        out_ += set;
        continue;
      }
      if (*high < *low) error("a range's end lies before its beginning");
      out_ += '-';
      literal(*high);
    }
    ++at_;
    if (!empty) {
      out_ += ']';
      return;
    }
    out_.resize(mark);
    out_ += negated ? kAny : kNothing;
  }

  void open_group() {
    out_ += "(?:";
    if (at_ >= in_.size() || in_[at_] != '?') return;
    const std::string_view rest = in_.substr(at_ + 1);
    if (rest.starts_with(':')) {
      at_ += 2;
    } else if (rest.starts_with('=') || rest.starts_with('!')) {
      error("look-ahead is not supported: say it with allOf, not or if instead");
    } else if (rest.starts_with("<=") || rest.starts_with("<!")) {
      error("look-behind is not supported: say it with allOf, not or if instead");
    } else if (rest.starts_with('<')) {
      at_ += 2;
      const size_t begin = at_;
      auto belongs = [&](char c) {
        return letter(c) || (c & 0x80) || c == '_' || c == '$' || (digit(c) && at_ > begin);
      };
      while (at_ < in_.size() && belongs(in_[at_])) ++at_;
      if (at_ == begin || at_ >= in_.size() || in_[at_] != '>')
        error("a group's name is a name in angle brackets: (?<year>...)");
      ++at_;
    } else {
      error("flags inside a pattern are not supported");
    }
  }

  // "{2,5}" is a quantifier; any other brace stands for itself.
  void quantifier_or_brace() {
    size_t i = at_ + 1;
    const auto digits = [&] {
      const size_t begin = i;
      while (i < in_.size() && digit(in_[i])) ++i;
      return i - begin;
    };
    bool quantifier = digits() > 0;
    if (quantifier && i < in_.size() && in_[i] == ',') {
      ++i;
      digits();
    }
    quantifier = quantifier && i < in_.size() && in_[i] == '}';
    if (!quantifier) {
      ++at_;
      literal('{');
      return;
    }
    out_ += in_.substr(at_, i + 1 - at_);
    at_ = i + 1;
  }

  std::string_view in_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

Result<std::string> ecma_to_re2(std::string_view pattern) {
  if (pattern.size() > kMaxPatternBytes)
    return fail(ErrorCode::invalid_params,
                fmt::format("a pattern has {} bytes; at most {} are taken", pattern.size(),
                            kMaxPatternBytes));
  try {
    return Translator(pattern).run();
  } catch (const PatternError& error) {
    return fail(ErrorCode::invalid_params, fmt::format("the pattern \"{}\" cannot be used: {}",
                                                       pattern.substr(0, 100), error.what()));
  }
}

}  // namespace gpumcp::mcp::schema
