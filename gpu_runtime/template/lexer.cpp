#include "gpu_runtime/template/lexer.h"

#include <fmt/format.h>

#include <algorithm>

#include "gpu_runtime/template/value.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime::jinja {
namespace {

constexpr std::string_view kBlank = " \t\n\r\f\v";
bool is_blank(char c) { return kBlank.find(c) != kBlank.npos; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_name(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Longer ones first.
constexpr std::string_view kOperators[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                           "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                           ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

// "\r\n" and "\r" are newlines, and the last one of the text does not count.
std::string with_plain_newlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out += source[i];
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(with_plain_newlines(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) text();
    add(Token::Type::end, "end of template");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw TemplateError(fmt::format("line {}: {}", line_, message));
  }
  void add(Token::Type type, std::string text) {
    tokens_.push_back({type, std::move(text), line_});
  }
  bool here(std::string_view what) const {
    return std::string_view(source_).substr(at_).starts_with(what);
  }
  void advance(std::size_t count) {
    line_ += static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                         source_.begin() + static_cast<std::ptrdiff_t>(at_ + count),
                                         '\n'));
    at_ += count;
  }
  void skip_blank() {
    std::size_t end = at_;
    while (end < source_.size() && is_blank(source_[end])) ++end;
    advance(end - at_);
  }

  // Plain text up to the next tag, then the tag.
  void text() {
    std::size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == source_.npos || tag + 1 >= source_.size()) {
        tag = source_.size();
        break;
      }
      const char kind = source_[tag + 1];
      if (kind == '{' || kind == '%' || kind == '#') break;
    }
    std::string data = source_.substr(at_, tag - at_);
    const char kind = tag < source_.size() ? source_[tag + 1] : '\0';
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    if (kind != '\0') strip_before(data, kind, sign);
    if (!data.empty()) add(Token::Type::text, data);
    advance(tag - at_);
    if (kind == '\0') return;
    advance(sign == '-' || (sign == '+' && kind != '{') ? 3 : 2);
    if (kind == '#') {
      comment();
    } else if (kind == '%' && !raw()) {
      add(Token::Type::block_begin, "{%");
      inside("%}", Token::Type::block_end);
    } else if (kind == '{') {
      add(Token::Type::output_begin, "{{");
      inside("}}", Token::Type::output_end);
    }
  }

  // What goes away in front of a tag: all blanks for "-"; for blocks and comments those between the
  // line's start and the tag.
  void strip_before(std::string& data, char kind, char sign) const {
    if (sign == '-') {
      data.erase(data.find_last_not_of(kBlank) + 1);
      return;
    }
    if (kind == '{' || sign == '+') return;
    const std::size_t newline = data.rfind('\n');
    if (newline == data.npos && !line_starting_) return;
    const std::size_t start = newline == data.npos ? 0 : newline + 1;
    if (data.find_first_not_of(kBlank, start) == data.npos) data.erase(start);
  }

  // Behind a tag's end: all blanks for "-", one newline for blocks and comments.
  void strip_behind(bool minus, bool plus, bool output) {
    const std::size_t begin = at_;
    if (minus) {
      skip_blank();
    } else if (!plus && !output && here("\n")) {
      advance(1);
    }
    line_starting_ = at_ > begin && source_[at_ - 1] == '\n';
  }

  void comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == source_.npos) fail("a comment has no end (#})");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    advance(end + 2 - at_);
    strip_behind(sign == '-', sign == '+', false);
  }

  // {% raw %} … {% endraw %}, whose inside is text. False: another tag.
  bool raw() {
    std::size_t end = source_.find_first_not_of(kBlank, at_);
    if (end == source_.npos || source_.compare(end, 3, "raw") != 0) return false;
    end = source_.find_first_not_of(kBlank, end + 3);
    if (end == source_.npos) return false;
    const bool minus = source_[end] == '-';
    if (source_.compare(end + (minus ? 1 : 0), 2, "%}") != 0) return false;
    advance(end + (minus ? 3 : 2) - at_);
    strip_behind(minus, false, false);
    for (std::size_t tag = at_; (tag = source_.find("{%", tag)) != source_.npos; tag += 2) {
      std::size_t word = tag + 2;
      const char sign = word < source_.size() ? source_[word] : '\0';
      if (sign == '-' || sign == '+') ++word;
      word = std::min(source_.find_first_not_of(kBlank, word), source_.size());
      if (source_.compare(word, 6, "endraw") != 0) continue;
      word = std::min(source_.find_first_not_of(kBlank, word + 6), source_.size());
      const char closing = word < source_.size() ? source_[word] : '\0';
      if (closing == '-' || closing == '+') ++word;
      if (source_.compare(word, 2, "%}") != 0) continue;
      std::string data = source_.substr(at_, tag - at_);
      strip_before(data, '%', sign);
      if (!data.empty()) add(Token::Type::text, data);
      advance(word + 2 - at_);
      strip_behind(closing == '-', closing == '+', false);
      return true;
    }
    fail("a raw block has no end ({% endraw %})");
  }

  void inside(std::string_view close, Token::Type close_type) {
    const bool output = close_type == Token::Type::output_end;
    std::vector<char> open;  // brackets, in which "}}" is no end
    for (;;) {
      skip_blank();
      if (at_ >= source_.size()) fail(fmt::format("a tag has no end ({})", close));
      if (open.empty()) {
        const bool minus =
            here("-") && std::string_view(source_).substr(at_ + 1).starts_with(close);
        const bool plus =
            !output && here("+") && std::string_view(source_).substr(at_ + 1).starts_with(close);
        if (minus || plus || here(close)) {
          add(close_type, std::string(close));
          advance(close.size() + (minus || plus ? 1 : 0));
          strip_behind(minus, plus, output);
          return;
        }
      }
      const char c = source_[at_];
      if (starts_name(c)) {
        name();
      } else if (is_digit(c)) {
        number();
      } else if (c == '"' || c == '\'') {
        string(c);
      } else {
        op(open);
      }
    }
  }

  void name() {
    std::size_t end = at_;
    while (end < source_.size() && (starts_name(source_[end]) || is_digit(source_[end]))) ++end;
    add(Token::Type::name, source_.substr(at_, end - at_));
    advance(end - at_);
  }

  void number() {
    std::size_t end = at_;
    auto digits = [&] {
      while (end < source_.size() &&
             (is_digit(source_[end]) ||
              (source_[end] == '_' && end + 1 < source_.size() && is_digit(source_[end + 1]))))
        ++end;
    };
    digits();
    bool real = false;
    const bool behind_dot = !tokens_.empty() && tokens_.back().text == ".";  // x.0.1
    if (!behind_dot && end + 1 < source_.size() && source_[end] == '.' &&
        is_digit(source_[end + 1])) {
      real = true;
      ++end;
      digits();
    }
    if (!behind_dot && end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      std::size_t exponent = end + 1;
      if (exponent < source_.size() && (source_[exponent] == '+' || source_[exponent] == '-'))
        ++exponent;
      if (exponent < source_.size() && is_digit(source_[exponent])) {
        real = true;
        end = exponent;
        digits();
      }
    }
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    add(real ? Token::Type::real : Token::Type::integer, std::move(text));
    advance(end - at_);
  }

  void string(char quote) {
    std::string value;
    std::size_t at = at_ + 1;
    for (;; ++at) {
      if (at >= source_.size()) fail("a string has no end");
      if (source_[at] == quote) break;
      if (source_[at] != '\\') {
        value += source_[at];
      } else {
        at = escape(at + 1, value);
      }
    }
    add(Token::Type::string, std::move(value));
    advance(at + 1 - at_);
  }

  // Python's escapes; gives the place of the last character that belongs to it.
  std::size_t escape(std::size_t at, std::string& value) {
    if (at >= source_.size()) fail("a string has no end");
    auto code = [&](std::size_t count) {
      std::uint32_t out = 0;
      for (std::size_t i = 1; i <= count; ++i) {
        const char c = at + i < source_.size() ? source_[at + i] : ' ';
        const auto digit =
            std::string_view("0123456789abcdef")
                .find(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
        if (digit == std::string_view::npos) fail("an escape in a string lacks hexadecimal digits");
        out = out * 16 + static_cast<std::uint32_t>(digit);
      }
      if (out > 0x10ffff || (out >= 0xd800 && out < 0xe000))
        fail("an escape in a string names no character");
      append_utf8(value, out);
      return at + count;
    };
    switch (source_[at]) {
      case 'n':
        value += '\n';
        return at;
      case 't':
        value += '\t';
        return at;
      case 'r':
        value += '\r';
        return at;
      case 'a':
        value += '\a';
        return at;
      case 'b':
        value += '\b';
        return at;
      case 'f':
        value += '\f';
        return at;
      case 'v':
        value += '\v';
        return at;
      case '\n':  // the string goes on in the next line
        return at;
      case '\\':
      case '\'':
      case '"':
        value += source_[at];
        return at;
      case 'x':
        return code(2);
      case 'u':
        return code(4);
      case 'U':
        return code(8);
      default:
        break;
    }
    if (source_[at] >= '0' && source_[at] < '8') {
      std::uint32_t out = 0;
      std::size_t end = at;
      while (end < source_.size() && end < at + 3 && source_[end] >= '0' && source_[end] < '8')
        out = out * 8 + static_cast<std::uint32_t>(source_[end++] - '0');
      append_utf8(value, out);
      return end - 1;
    }
    value += '\\';
    value += source_[at];
    return at;
  }

  void op(std::vector<char>& open) {
    for (const std::string_view op : kOperators) {
      if (!here(op)) continue;
      if (op == "(" || op == "[" || op == "{") {
        open.push_back(op == "(" ? ')' : op == "[" ? ']' : '}');
      } else if (op == ")" || op == "]" || op == "}") {
        if (open.empty() || open.back() != op[0]) fail(fmt::format("'{}' closes nothing", op));
        open.pop_back();
      }
      add(Token::Type::op, std::string(op));
      advance(op.size());
      return;
    }
    fail(fmt::format("'{}' is no part of an expression",
                     source_.substr(at_, decode_utf8(source_.data() + at_).length)));
  }

  const std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // nothing stands before this place in its line
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize_template(std::string_view source) { return Lexer(source).run(); }

}  // namespace gpumcp::gpu_runtime::jinja
