#include "mcp/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <optional>
#include <vector>

#include "mcp/json_members.h"
#include "mcp/utf8.h"

namespace gpumcp::mcp {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

void append_utf8(std::string& out, uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

// The keys of one object: a linear search while they are few, then they are sorted once, at the
// object's end. No hash set: the standard library's hash has no secret, so that a client can send
// hundreds of thousands of keys that collide, and each insertion would walk past all before it.
class KeySet {
 public:
  // False: the key is there already.
  bool insert(std::string_view key, const char* at) {
    if (size_ < kFew) {
      for (size_t i = 0; i < size_; ++i) {
        if (few_[i].text == key) return false;
      }
      few_[size_++] = {key, at};
      return true;
    }
    if (keys_.empty()) keys_.assign(few_.begin(), few_.end());
    keys_.push_back({key, at});
    return true;
  }

  // Of keys that repeat one before them, one of the text's first; nullopt: there are none.
  struct Key {
    std::string_view text;
    const char* at;  // in the scanned text
  };
  std::optional<Key> find_repeated() {
    std::optional<Key> out;
    if (keys_.empty()) return out;
    std::sort(keys_.begin(), keys_.end(), [](const Key& a, const Key& b) {
      const int order = a.text.compare(b.text);
      return order < 0 || (order == 0 && a.at < b.at);
    });
    for (size_t i = 1; i < keys_.size(); ++i) {
      if (keys_[i].text == keys_[i - 1].text && (!out || keys_[i].at < out->at)) out = keys_[i];
    }
    return out;
  }

 private:
  static constexpr size_t kFew = 24;
  std::array<Key, kFew> few_;
  size_t size_ = 0;        // of few_
  std::vector<Key> keys_;  // all of them, once they are more
};

// One pass over the text; recursion is bounded by max_depth.
class Scanner {
 public:
  Scanner(std::string_view text, const MemberFn& member, int max_depth)
      : begin_(text.data()),
        p_(text.data()),
        end_(text.data() + text.size()),
        member_(member),
        max_depth_(max_depth) {}

  Result<void> run() {
    space();
    if (!value(0)) return error();
    space();
    if (p_ != end_ && !set_error("nothing may follow the value")) return error();
    return {};
  }

 private:
  bool set_error(std::string what) {
    if (what_.empty()) {
      what_ = std::move(what);
      at_ = static_cast<size_t>(p_ - begin_);
    }
    return false;
  }

  tl::unexpected<Error> error() const {
    return fail(ErrorCode::parse_error, fmt::format("invalid JSON at byte {}: {}", at_, what_));
  }

  void space() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) ++p_;
  }

  bool literal(std::string_view word) {
    if (static_cast<size_t>(end_ - p_) < word.size() || std::string_view(p_, word.size()) != word)
      return set_error("unknown word");
    p_ += word.size();
    return true;
  }

  bool value(int depth) {
    if (p_ == end_) return set_error("the text ends where a value should be");
    switch (*p_) {
      case '{':
        return object(depth + 1);
      case '[':
        return array(depth + 1);
      case '"':
        return string(nullptr);
      case 't':
        return literal("true");
      case 'f':
        return literal("false");
      case 'n':
        return literal("null");
      default:
        return number();
    }
  }

  bool digits() {
    const char* start = p_;
    while (p_ != end_ && *p_ >= '0' && *p_ <= '9') ++p_;
    return p_ != start;
  }

  bool number() {
    if (*p_ == '-') ++p_;
    if (p_ != end_ && *p_ == '0') {
      ++p_;
    } else if (!digits()) {
      return set_error("no value starts like this");
    }
    if (p_ != end_ && *p_ == '.') {
      ++p_;
      if (!digits()) return set_error("digits are missing after '.'");
    }
    if (p_ != end_ && (*p_ == 'e' || *p_ == 'E')) {
      ++p_;
      if (p_ != end_ && (*p_ == '+' || *p_ == '-')) ++p_;
      if (!digits()) return set_error("digits are missing in the exponent");
    }
    return true;
  }

  bool hex4(uint32_t& out) {
    out = 0;
    for (int i = 0; i < 4; ++i, ++p_) {
      const int digit = p_ == end_ ? -1 : hex_digit(*p_);
      if (digit < 0) return set_error("\\u wants four hexadecimal digits");
      out = out * 16 + static_cast<uint32_t>(digit);
    }
    return true;
  }

  bool escape(std::string* decoded) {
    ++p_;  // the backslash
    if (p_ == end_) return set_error("the text ends inside a string");
    const char c = *p_++;
    static constexpr std::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
    if (const size_t i = kFrom.find(c); i != kFrom.npos) {
      if (decoded) *decoded += kTo[i];
      return true;
    }
    if (c != 'u') {
      --p_;
      return set_error("unknown escape");
    }
    uint32_t code = 0;
    if (!hex4(code)) return false;
    if (code >= 0xDC00 && code <= 0xDFFF) return set_error("a low surrogate stands alone");
    if (code >= 0xD800 && code <= 0xDBFF) {
      uint32_t low = 0;
      if (end_ - p_ < 2 || p_[0] != '\\' || p_[1] != 'u')
        return set_error("a high surrogate stands alone");
      p_ += 2;
      if (!hex4(low)) return false;
      if (low < 0xDC00 || low > 0xDFFF) return set_error("a high surrogate stands alone");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (decoded) append_utf8(*decoded, code);
    return true;
  }

  // Leaves p_ behind the closing quote. `decoded`, if given, receives the content.
  bool string(std::string* decoded) {
    ++p_;
    const char* run = p_;
    auto flush = [&] {
      if (decoded) decoded->append(run, p_);
    };
    while ((p_ = find_special(p_, end_)) != end_) {
      const unsigned char c = static_cast<unsigned char>(*p_);
      if (c == '"') {
        flush();
        ++p_;
        return true;
      }
      if (c == '\\') {
        flush();
        if (!escape(decoded)) return false;
        run = p_;
      } else if (c < 0x20) {
        return set_error("control characters in strings must be escaped");
      } else {
        const size_t n = utf8_length(reinterpret_cast<const unsigned char*>(p_),
                                     reinterpret_cast<const unsigned char*>(end_));
        if (n == 0) return set_error("invalid UTF-8");
        p_ += n;
      }
    }
    return set_error("the text ends inside a string");
  }

  bool repeated(const KeySet::Key& key) {
    p_ = key.at;
    return set_error(fmt::format("duplicate key \"{}\"", key.text.substr(0, 64)));
  }

  bool object(int depth) {
    if (depth > max_depth_)
      return set_error(fmt::format("nested deeper than {} levels", max_depth_));
    ++p_;
    KeySet keys;
    std::vector<std::unique_ptr<std::string>> decoded_keys;  // only keys with escapes
    space();
    if (p_ != end_ && *p_ == '}') {
      ++p_;
      return true;
    }
    while (true) {
      if (p_ == end_ || *p_ != '"') return set_error("a key in quotes should be here");
      const char* key_begin = p_ + 1;
      if (!string(nullptr)) return false;
      std::string_view key(key_begin, static_cast<size_t>(p_ - 1 - key_begin));
      if (key.find('\\') != key.npos) {
        const char* behind = p_;
        p_ = key_begin - 1;
        auto text = std::make_unique<std::string>();
        string(text.get());
        p_ = behind;
        key = *decoded_keys.emplace_back(std::move(text));
      }
      if (!keys.insert(key, key_begin)) return repeated({key, key_begin});
      space();
      if (p_ == end_ || *p_ != ':') return set_error("':' should follow a key");
      ++p_;
      space();
      const char* value_begin = p_;
      if (!value(depth)) return false;
      if (depth == 1 && member_)
        member_(key, std::string_view(value_begin, static_cast<size_t>(p_ - value_begin)));
      space();
      if (p_ != end_ && *p_ == ',') {
        ++p_;
        space();
        continue;
      }
      if (p_ != end_ && *p_ == '}') {
        if (const auto one = keys.find_repeated()) return repeated(*one);
        ++p_;
        return true;
      }
      return set_error("',' or '}' should be here");
    }
  }

  bool array(int depth) {
    if (depth > max_depth_)
      return set_error(fmt::format("nested deeper than {} levels", max_depth_));
    ++p_;
    space();
    if (p_ != end_ && *p_ == ']') {
      ++p_;
      return true;
    }
    while (true) {
      if (!value(depth)) return false;
      space();
      if (p_ != end_ && *p_ == ',') {
        ++p_;
        space();
        continue;
      }
      if (p_ != end_ && *p_ == ']') {
        ++p_;
        return true;
      }
      return set_error("',' or ']' should be here");
    }
  }

  const char* begin_;
  const char* p_;
  const char* end_;
  const MemberFn& member_;
  const int max_depth_;
  std::string what_;
  size_t at_ = 0;
};

// Finds the members of an object in a text that scan_json() has found sound.
class Splitter {
 public:
  explicit Splitter(std::string_view text) : p_(text.data()), end_(text.data() + text.size()) {}

  void run(const MemberFn& member) {
    space();
    if (p_ == end_ || *p_ != '{') return;
    ++p_;
    std::string decoded;
    while (true) {
      space();
      if (p_ == end_ || *p_ != '"') return;
      const char* key = p_ + 1;
      const bool escapes = string();
      std::string_view name(key, static_cast<size_t>(p_ - 1 - key));
      if (escapes) {
        decoded = Json::parse(key - 1, p_).get<std::string>();
        name = decoded;
      }
      space();
      ++p_;  // the colon
      space();
      const char* begin = p_;
      value();
      member(name, std::string_view(begin, static_cast<size_t>(p_ - begin)));
      space();
      if (p_ == end_ || *p_ != ',') return;
      ++p_;
    }
  }

 private:
  void space() {
    while (p_ != end_ && (*p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) ++p_;
  }

  // True: it has escapes.
  bool string() {
    bool escapes = false;
    for (++p_; p_ != end_; ++p_) {
      p_ = find_quote(p_);
      if (p_ == end_ || *p_ == '"') break;
      escapes = true;
      ++p_;
    }
    if (p_ != end_) ++p_;
    return escapes;
  }
  const char* find_quote(const char* p) const {
    while (p != end_ && *p != '"' && *p != '\\') ++p;
    return p;
  }

  void value() {
    int depth = 0;
    for (; p_ != end_; ++p_) {
      if (*p_ == '"') {
        string();
        --p_;
      } else if (*p_ == '{' || *p_ == '[') {
        ++depth;
      } else if (*p_ == '}' || *p_ == ']') {
        if (depth == 0) return;  // of the object around it
        if (--depth == 0) return (void)++p_;
      } else if (depth == 0 &&
                 (*p_ == ',' || *p_ == ' ' || *p_ == '\n' || *p_ == '\r' || *p_ == '\t')) {
        return;
      }
    }
  }

  const char* p_;
  const char* end_;
};

// Builds the value of a text that scan_json() has found sound. The library's own builder searches
// an ordered object for each new key, which takes minutes for a hostile object of a few hundred
// thousand of them; here keys are known to differ.
class Builder {
 public:
  bool null() { return add(nullptr); }
  bool boolean(bool value) { return add(value); }
  bool number_integer(int64_t value) { return add(value); }
  bool number_unsigned(uint64_t value) { return add(value); }
  bool number_float(double value, const std::string&) { return add(value); }
  bool string(std::string& value) { return add(std::move(value)); }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(size_t) { return open(Json::object()); }
  bool start_array(size_t) { return open(Json::array()); }
  bool end_object() { return close(); }
  bool end_array() { return close(); }
  bool key(std::string& key) {
    key_ = std::move(key);
    return true;
  }
  bool parse_error(size_t, const std::string& token, const Json::exception&) {
    error_ = fmt::format("{} is beyond the numbers that a double holds", token.substr(0, 40));
    return false;
  }

  Json take() { return std::move(root_); }
  const std::string& error() const { return error_; }

 private:
  bool add(Json value) {
    place(std::move(value));
    return true;
  }
  bool open(Json value) {
    open_.push_back(place(std::move(value)));
    return true;
  }
  bool close() {
    open_.pop_back();
    return true;
  }
  // A container's address holds while it is open: only its own members are added meanwhile.
  Json* place(Json value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return &root_;
    }
    Json& parent = *open_.back();
    if (parent.is_array()) {
      auto& items = parent.get_ref<Json::array_t&>();
      return &items.emplace_back(std::move(value));
    }
    using Members = std::vector<std::pair<const std::string, Json>>;
    Members& members = parent.get_ref<Json::object_t&>();  // ordered_map is a vector of pairs
    return &members.emplace_back(std::move(key_), std::move(value)).second;
  }

  Json root_;
  std::vector<Json*> open_;
  std::string key_, error_;
};

}  // namespace

Result<void> scan_json(std::string_view text, const MemberFn& member, int max_depth) {
  return Scanner(text, member, max_depth).run();
}

void split_object(std::string_view text, const MemberFn& member) { Splitter(text).run(member); }

Result<Json> parse_json(std::string_view text, int max_depth) {
  if (auto scanned = scan_json(text, {}, max_depth); !scanned)
    return tl::unexpected(std::move(scanned.error()));
  return parse_scanned(text);
}

Result<Json> parse_scanned(std::string_view text) {
  Builder builder;
  if (!Json::sax_parse(text, &builder))  // a number beyond double
    return fail(ErrorCode::parse_error, fmt::format("invalid JSON: {}", builder.error()));
  return builder.take();
}

}  // namespace gpumcp::mcp
