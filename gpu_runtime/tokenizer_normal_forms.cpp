// The Unicode normalizers: NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, Strip, Nmt; and Replace,
// Prepend, Sequence.
#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "gpu_runtime/bert_unicode.h"
#include "gpu_runtime/tokenizer_normalizer.h"
#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/tokenizer_regex.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::size_t kMaxSequence = 64;
constexpr std::size_t kMaxGrown = std::size_t{16} << 20;  // bytes; or 4 times what came

// Texts grow by what a file puts in, and again by the next part: a hostile file doubles 64 times.
void check_growth(std::size_t from, std::size_t to) {
  if (to <= std::max(kMaxGrown, from * 4)) return;
  throw Error(
      ErrorCode::invalid_argument,
      fmt::format("the tokenizer's normalizer makes {} bytes of a text of {}, more than the "
                  "limit of {}: its file is out of order, pull the model again",
                  to, from, std::max(kMaxGrown, from * 4)));
}

struct Char {
  std::uint32_t code_point, source;  // number of the character that it came from
};

void emit(Char c, NormalizedText& to) {
  append_utf8(to.text, c.code_point);
  if (to.tracked) to.origins.resize(to.text.size(), CharRange{c.source, c.source + 1});
}

template <class F>
void for_each_char(std::string_view text, std::uint32_t number, F&& f) {
  for (std::size_t at = 0; at < text.size(); ++number) {
    const DecodedChar c = decode_utf8(text.data() + at);
    f(c.code_point, number);
    at += c.length;
  }
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

void copy(std::string_view from, std::uint32_t first_char, NormalizedText& to) {
  to.clear();
  to.text = from;
  if (!to.tracked) return;
  std::uint32_t next = first_char;
  for (const char byte : from) {
    next += !is_continuation(byte);
    to.origins.emplace_back(next - 1, next);
  }
}

// The composition of two characters, 0: none. Of what Unicode got since `tokenizers` froze its
// tables, nothing is composed.
std::uint32_t compose(std::uint32_t a, std::uint32_t b) {
  utf8proc_int32_t pair[2] = {static_cast<utf8proc_int32_t>(a), static_cast<utf8proc_int32_t>(b)};
  const auto n = utf8proc_normalize_utf32(
      pair, 2, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (n != 1) return 0;
  const auto whole = static_cast<std::uint32_t>(pair[0]);
  return bert::flags_of(whole) & bert::kDecomposes ? whole : 0;
}

int class_of(std::uint32_t c) {
  return bert::flags_of(c) & bert::kNonstarter ? bert::combining_class(c) : 0;
}

class NormalForm final : public Normalizer {
 public:
  NormalForm(bool compatible, bool compose) : compatible_(compatible), compose_(compose) {}

  void normalize(std::string_view from, std::uint32_t first_char,
                 NormalizedText& to) const override {
    if (is_ascii(from)) return copy(from, first_char, to);
    to.clear();
    thread_local std::vector<Part> chars;
    chars.clear();
    for_each_char(from, 0, [&](std::uint32_t c, std::uint32_t) { decompose(c, chars); });
    sort_marks(chars);
    if (compose_) compose_all(chars);
    // As `tokenizers` has it, characters of the source are used up in order, whatever was sorted.
    std::uint32_t number = first_char;
    for (const Part& part : chars) {
      const bool added = part.change > 0;
      append_utf8(to.text, part.code_point);
      if (to.tracked) {
        to.origins.resize(to.text.size(),
                          added ? CharRange{std::max(number, first_char + 1) - 1, number}
                                : CharRange{number, number + 1});
      }
      if (!added) number += static_cast<std::uint32_t>(1 - part.change);
    }
    if (chars.capacity() > 1'000'000) chars = {};
  }

 private:
  // change: 1 for what a decomposition added; -n for what n characters more were composed into.
  struct Part {
    std::uint32_t code_point;
    int change;
  };

  void decompose(std::uint32_t c, std::vector<Part>& chars) const {
    if (c < 0x80) return chars.push_back({c, 0});
    if (compatible_) {
      utf8proc_int32_t parts[32];
      int last_class = 0;
      const auto n = utf8proc_decompose_char(
          static_cast<utf8proc_int32_t>(c), parts, 32,
          static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT), &last_class);
      if (n >= 1 && n <= 32) {
        for (int i = 0; i < n; ++i) chars.push_back({static_cast<std::uint32_t>(parts[i]), i > 0});
        return;
      }
    }
    std::uint32_t parts[8] = {c};
    const int n = bert::flags_of(c) & bert::kDecomposes ? bert::decompose(c, parts) : 1;
    for (int i = 0; i < n; ++i) chars.push_back({parts[i], i > 0});
  }

  static void sort_marks(std::vector<Part>& chars) {
    for (std::size_t i = 0; i < chars.size(); ++i) {
      std::size_t end = i;
      while (end < chars.size() && class_of(chars[end].code_point) != 0) ++end;
      if (end - i > 1) {
        std::stable_sort(chars.begin() + static_cast<std::ptrdiff_t>(i),
                         chars.begin() + static_cast<std::ptrdiff_t>(end),
                         [](const Part& a, const Part& b) {
                           return class_of(a.code_point) < class_of(b.code_point);
                         });
      }
      i = end;
    }
  }

  static void compose_all(std::vector<Part>& chars) {
    std::size_t out = 0, starter = chars.size();
    int last_class = 0;
    for (std::size_t i = 0; i < chars.size(); ++i) {
      const int own_class = class_of(chars[i].code_point);
      if (starter < out) {
        const bool blocked = out - 1 != starter && (last_class == 0 || last_class >= own_class);
        const std::uint32_t whole = blocked || (chars[i].code_point < 0x300)
                                        ? 0
                                        : compose(chars[starter].code_point, chars[i].code_point);
        if (whole != 0) {
          chars[starter] = {whole, chars[starter].change + chars[i].change - 1};
          continue;
        }
      }
      if (own_class == 0) starter = out;
      last_class = own_class;
      chars[out++] = chars[i];
    }
    chars.resize(out);
  }

  bool compatible_, compose_;
};

class Lowercase final : public Normalizer {
 public:
  void normalize(std::string_view from, std::uint32_t first_char,
                 NormalizedText& to) const override {
    to.clear();
    for_each_char(from, first_char, [&](std::uint32_t c, std::uint32_t number) {
      std::uint32_t lower[2];
      const int n = bert::lower_case(c, lower);
      for (int i = 0; i < n; ++i) emit({lower[i], number}, to);
    });
  }
};

// Keeps the characters that `keep` says; StripAccents and Nmt.
template <class Keep>
class Filter final : public Normalizer {
 public:
  explicit Filter(Keep keep) : keep_(keep) {}
  void normalize(std::string_view from, std::uint32_t first_char,
                 NormalizedText& to) const override {
    to.clear();
    for_each_char(from, first_char, [&](std::uint32_t c, std::uint32_t number) {
      if (const std::uint32_t out = keep_(c); out != kDropped) emit({out, number}, to);
    });
  }
  static constexpr std::uint32_t kDropped = 0xffffffff;

 private:
  Keep keep_;
};

std::uint32_t without_accents(std::uint32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c)) == UTF8PROC_CATEGORY_MN ? 0xffffffff
                                                                                     : c;
}

std::uint32_t nmt(std::uint32_t c) {
  if ((c >= 1 && c <= 8) || c == 0xb || (c >= 0xe && c <= 0x1f) || c == 0x7f || c == 0x8f ||
      c == 0x9f)
    return 0xffffffff;
  const bool space = c == 9 || c == 10 || c == 12 || c == 13 || c == 0x1680 ||
                     (c >= 0x200b && c <= 0x200f) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                     c == 0xfeff || c == 0xfffd;
  return space ? ' ' : c;
}

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void normalize(std::string_view from, std::uint32_t first_char,
                 NormalizedText& to) const override {
    std::size_t begin = 0, end = 0, at = 0;
    bool any = false;
    std::uint32_t skipped = 0;
    for_each_char(from, 0, [&](std::uint32_t c, std::uint32_t number) {
      const std::size_t next = at + decode_utf8(from.data() + at).length;
      if (!is_white_space(c)) {
        if (!any) begin = at, skipped = number;
        any = true;
        end = next;
      }
      at = next;
    });
    if (!any) begin = left_ ? from.size() : 0, end = right_ && !left_ ? 0 : from.size();
    if (!left_) begin = 0, skipped = 0;
    if (!right_ && any) end = from.size();
    copy(from.substr(begin, std::max(begin, end) - begin), first_char + skipped, to);
  }

 private:
  bool left_, right_;
};

class Replace final : public Normalizer {
 public:
  Replace(Regex regex, std::string content, std::string literal)
      : regex_(std::move(regex)), content_(std::move(content)), literal_(std::move(literal)) {}

  void normalize(std::string_view from, std::uint32_t first_char,
                 NormalizedText& to) const override {
    thread_local std::vector<Piece> matches;
    matches.clear();
    to.clear();
    if (from.empty()) return;  // `tokenizers` finds nothing there, not even nothing
    if (!literal_.empty()) {
      for (std::size_t at = from.find(literal_); at != from.npos;
           at = from.find(literal_, at + literal_.size()))
        matches.push_back(
            {static_cast<std::uint32_t>(at), static_cast<std::uint32_t>(at + literal_.size())});
    } else {
      regex_.find_all(from, {0, static_cast<std::uint32_t>(from.size())}, matches);
    }
    check_growth(from.size(), from.size() + matches.size() * content_.size());
    std::uint32_t number = first_char;
    std::size_t done = 0;
    const auto keep = [&](std::size_t end) {
      to.text.append(from, done, end - done);
      if (to.tracked) {
        for (; done < end; ++done) {
          number += !is_continuation(from[done]);
          to.origins.emplace_back(number - 1, number);
        }
      }
      done = end;
    };
    for (const Piece match : matches) {
      keep(match.begin);
      to.text += content_;
      if (to.tracked) {
        const auto chars = static_cast<std::uint32_t>(
            count_chars(from.substr(match.begin, match.end - match.begin)));
        // What stands for nothing belongs to the character before, as in `tokenizers`.
        to.origins.resize(to.text.size(), chars > 0             ? CharRange{number, number + chars}
                                          : number > first_char ? CharRange{number - 1, number}
                                                                : CharRange{number, number});
        number += chars;
      }
      done = match.end;
    }
    keep(from.size());
    if (matches.capacity() > 100'000) matches = {};
  }

 private:
  Regex regex_;
  std::string content_, literal_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string content) : content_(std::move(content)) {}
  void normalize(std::string_view from, std::uint32_t first_char,
                 NormalizedText& to) const override {
    copy(from, first_char, to);
    if (from.empty()) return;
    check_growth(from.size(), from.size() + content_.size());
    to.text.insert(0, content_);
    if (to.tracked) to.origins.insert(to.origins.begin(), content_.size(), to.origins.front());
  }

 private:
  std::string content_;
};

class SequenceOfNormalizers final : public Normalizer {
 public:
  explicit SequenceOfNormalizers(std::vector<std::unique_ptr<const Normalizer>> parts)
      : parts_(std::move(parts)) {}

  void normalize(std::string_view from, std::uint32_t first_char,
                 NormalizedText& to) const override {
    if (parts_.empty()) return copy(from, first_char, to);
    parts_.front()->normalize(from, first_char, to);
    NormalizedText next;
    std::vector<CharRange> before;
    for (std::size_t i = 1; i < parts_.size(); ++i) {
      next.tracked = to.tracked;
      next.at_start = to.at_start;
      parts_[i]->normalize(to.text, 0, next);
      if (to.tracked) {
        // next's origins count the characters of `to`; what these came from is wanted.
        before.clear();
        for (std::size_t at = 0; at < to.text.size(); ++at) {
          if (!is_continuation(to.text[at])) before.push_back(to.origins[at]);
        }
        // What an empty match put at the end, or in front of all, came from no character.
        for (auto& [begin, end] : next.origins) {
          const bool inside = begin < before.size();
          const std::uint32_t from_char = inside           ? before[begin].first
                                          : before.empty() ? first_char
                                                           : before.back().second;
          end = inside && end > begin ? before[std::min<std::size_t>(end, before.size()) - 1].second
                                      : from_char;
          begin = from_char;
        }
      }
      std::swap(to, next);
      check_growth(from.size(), to.text.size());  // parts may each stay within their own limit
    }
  }

 private:
  std::vector<std::unique_ptr<const Normalizer>> parts_;
};

}  // namespace

std::unique_ptr<const Normalizer> make_plain_normalizer(const TokenizerPart& part) {
  const std::string type = part.type();
  if (type == "NFC") return std::make_unique<NormalForm>(false, true);
  if (type == "NFD") return std::make_unique<NormalForm>(false, false);
  if (type == "NFKC") return std::make_unique<NormalForm>(true, true);
  if (type == "NFKD") return std::make_unique<NormalForm>(true, false);
  if (type == "Lowercase") return std::make_unique<Lowercase>();
  if (type == "StripAccents")
    return std::make_unique<Filter<decltype(&without_accents)>>(&without_accents);
  if (type == "Nmt") return std::make_unique<Filter<decltype(&nmt)>>(&nmt);
  if (type == "Strip")
    return std::make_unique<Strip>(part.boolean("strip_left", true),
                                   part.boolean("strip_right", true));
  if (type == "Prepend") return std::make_unique<Prepend>(part.string("prepend"));
  if (type == "Replace") {
    const TokenizerPart pattern(part.at("pattern"), part.name() + ": pattern");
    const std::string content = part.string("content");
    if (pattern.find("Regex"))
      return std::make_unique<Replace>(Regex(pattern.string("Regex"), part.name()), content, "");
    const std::string literal = pattern.string("String");
    return std::make_unique<Replace>(Regex::literal(literal, part.name()), content, literal);
  }
  if (type == "Sequence") {
    const Json& list = part.at("normalizers");
    if (!list.is_array() || list.size() > kMaxSequence)
      part.refuse("normalizers", "an array of at most 64 parts", list);
    std::vector<std::unique_ptr<const Normalizer>> parts;
    for (std::size_t i = 0; i < list.size(); ++i) {
      parts.push_back(make_normalizer_part(
          TokenizerPart(list[i], fmt::format("{}: normalizers[{}]", part.name(), i))));
    }
    return std::make_unique<SequenceOfNormalizers>(std::move(parts));
  }
  return nullptr;
}

}  // namespace gpumcp::gpu_runtime
