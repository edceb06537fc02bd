#include "gpu_runtime/tokenizer_regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include <array>
#include <cctype>
#include <chrono>
#include <new>
#include <utility>

#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer_regex_tables.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::size_t kMaxPattern = 20'000;     // bytes; real ones have a few hundred
constexpr std::uint32_t kMatchLimit = 5'000'000;  // PCRE2's match limit, for one match
constexpr std::uint32_t kMaxDepth = 10'000;
constexpr std::uint32_t kMaxHeapKb = 64 * 1024;
// Many matches may each stay within their limit: the sum is bounded by the clock.
constexpr std::chrono::seconds kMaxTime{20};
constexpr std::size_t kStackBytes = 1 << 20;

// White_Space and word characters as Oniguruma has them; PCRE2's \s takes U+180E, too, and its \w
// leaves marks out.
constexpr std::string_view kSpace =
    R"(\t-\r\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kWord = R"(\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc})";

// What newer Unicode versions added to the categories that begin so ("L", "Lu"; "": none), as the
// inside of a class. Without it a letter of 2024 would be none to an older PCRE2.
std::string additions(std::string_view category) {
  std::string ranges;
  for (const auto& [name, added] : kCategoryAdditions) {
    if (!category.empty() && name.starts_with(category)) ranges += added;
  }
  return ranges;
}

// The category in "{L}" or "L" at the beginning of `text`, and how many bytes that is; "" for one
// that is not known here (a script, a negation).
std::pair<std::string_view, std::size_t> category_at(std::string_view text) {
  if (text.empty()) return {"", 0};
  if (text[0] != '{') return {text.substr(0, 1), 1};
  const std::size_t end = text.find('}');
  if (end == text.npos || end > 3) return {"", 0};
  return {text.substr(1, end - 1), end + 1};
}

// Writes the pattern's \s, \S, \w, \W, \d and \D out, and \h, which is a hexadecimal digit there;
// and what \p{L} and the like lack.
std::string translate(std::string_view pattern) {
  std::string out;
  int open = 0;  // depth of [ ]
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\' || i + 1 == pattern.size()) {
      if (c == '[') {
        // In a class "[" is a literal to PCRE2 unless it opens [:alpha:].
        open = 1;
      } else if (c == ']') {
        open = 0;
      }
      out += c;
      continue;
    }
    const char kind = pattern[++i];
    std::string set;
    if (kind == 's' || kind == 'S') set = kSpace;
    if (kind == 'w' || kind == 'W') {
      set = kWord;
      for (const char* category : {"L", "M", "Nd", "Nl", "Pc"}) set += additions(category);
    }
    if (kind == 'd' || kind == 'D') set = R"(\p{Nd})" + additions("Nd");
    if (kind == 'h' || kind == 'H') set = "0-9a-fA-F";
    if (kind == 'p' || kind == 'P') {
      const auto [category, size] = category_at(pattern.substr(i + 1));
      if (const std::string added = additions(category); !added.empty()) {
        set = "\\p{" + std::string(category) + "}" + added;
        if (kind == 'p' || open == 0) i += size;
      }
    }
    const bool negated = kind >= 'A' && kind <= 'Z';
    if (set.empty() || (open != 0 && negated)) {
      (out += c) += kind;
    } else if (open != 0) {
      out += set;
    } else {
      ((out += negated ? "[^" : "[") += set) += ']';
    }
  }
  return out;
}

struct MatchSpace {
  MatchSpace()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(32 * 1024, kStackBytes, nullptr)) {
    if (!data || !context) throw std::bad_alloc();
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_depth_limit(context, kMaxDepth);
    pcre2_set_heap_limit(context, kMaxHeapKb);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchSpace() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  MatchSpace(const MatchSpace&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

std::string message_of(int code) {
  std::array<unsigned char, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  std::string name;
  ~Code() { pcre2_code_free(code); }
};

Regex::Regex(const std::string& pattern, const std::string& name) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::corrupt_checkpoint, fmt::format("{}: the regular expression {} {}", name,
                                                           describe_json(Json(pattern)), why));
  };
  if (pattern.size() > kMaxPattern)
    refuse(fmt::format("has {} bytes, more than the limit of {}", pattern.size(), kMaxPattern));
  const std::string translated = translate(pattern);
  auto code = std::make_unique<Code>();
  code->name = name;
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  if (!context) throw std::bad_alloc();
  pcre2_set_parens_nest_limit(context, 100);
  int problem = 0;
  PCRE2_SIZE at = 0;
  code->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &problem, &at, context);
  pcre2_compile_context_free(context);
  if (!code->code)
    refuse(fmt::format("cannot be read: {} (near byte {})", message_of(problem), at));
  pcre2_jit_compile(code->code, PCRE2_JIT_COMPLETE);  // without it, matching is only slower
  code_ = std::move(code);
}

Regex Regex::literal(const std::string& text, const std::string& name) {
  std::string pattern;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c))) {
      pattern += fmt::format("\\x{{{:x}}}", static_cast<unsigned>(c));
    } else {
      pattern += c;
    }
  }
  return Regex(pattern, name);
}

Regex::~Regex() = default;
Regex::Regex(Regex&&) noexcept = default;

void Regex::find_all(std::string_view text, Piece piece, std::vector<Piece>& matches) const {
  thread_local MatchSpace space;
  const auto* const subject = reinterpret_cast<PCRE2_SPTR>(text.data() + piece.begin);
  const std::size_t size = piece.end - piece.begin;
  const PCRE2_SIZE* const found = pcre2_get_ovector_pointer(space.data);
  std::size_t at = 0;
  std::chrono::steady_clock::time_point began;
  for (std::size_t n = 0; at <= size; ++n) {
    if (n % 256 == 255) {
      const auto now = std::chrono::steady_clock::now();
      if (n == 255) began = now;
      if (now - began > kMaxTime) {
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("{}: its regular expression takes more than {} s for a text of {} "
                                "bytes; give shorter texts",
                                code_->name, kMaxTime.count(), size));
      }
    }
    const int status =
        pcre2_match(code_->code, subject, size, at, PCRE2_NO_UTF_CHECK, space.data, space.context);
    if (status == PCRE2_ERROR_NOMATCH) return;
    if (status < 0) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{}: its regular expression gives up on a text of {} bytes, at byte "
                              "{}: {}; give shorter texts, or use a tokenizer that is in order",
                              code_->name, size, at, message_of(status)));
    }
    if (found[1] < found[0] || found[0] < at) {  // \K in a lookaround, where PCRE2 allows it
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{}: its regular expression matches backwards (\\K)", code_->name));
    }
    matches.push_back({piece.begin + static_cast<std::uint32_t>(found[0]),
                       piece.begin + static_cast<std::uint32_t>(found[1])});
    if (found[1] > found[0]) {
      at = found[1];
    } else {
      if (found[1] >= size) return;
      at = found[1] + decode_utf8(text.data() + piece.begin + found[1]).length;
    }
  }
}

}  // namespace gpumcp::gpu_runtime
