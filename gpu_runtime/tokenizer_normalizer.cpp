#include "gpu_runtime/tokenizer_normalizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "gpu_runtime/bert_unicode.h"
#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

// No normalizer: the text as it is.
class KeepText final : public Normalizer {
 public:
  void normalize(std::string_view from, std::uint32_t first_char,
                 NormalizedText& to) const override {
    to.clear();
    to.text = from;
    if (!to.tracked) return;
    std::uint32_t next = first_char;
    for (const char byte : from) {
      next += !is_continuation(byte);
      to.origins.emplace_back(next - 1, next);
    }
  }
};

struct BertOptions {
  bool clean_text = true, handle_chinese_chars = true, strip_accents = true, lowercase = true;
};

// BertNormalizer: clean, space out Chinese, NFD without marks, lower-case, in this order. All but
// NFD act on single characters, so one pass does the four; only runs of combining characters, which
// NFD reorders, are gathered first. ASCII goes through a table of bytes.
class BertNormalizer final : public Normalizer {
 public:
  explicit BertNormalizer(const BertOptions& options) : options_(options) {
    for (std::uint32_t c = 0; c < ascii_.size(); ++c) {
      const std::uint8_t flags = bert::flags_of(c);
      std::uint32_t out = c;
      if (options_.clean_text && (flags & bert::kRemoved)) out = kDrop;
      if (options_.clean_text && (flags & bert::kSpace)) out = ' ';
      if (options_.lowercase && out >= 'A' && out <= 'Z') out += 'a' - 'A';
      ascii_[c] = static_cast<unsigned char>(out);
    }
    plain_mask_ = static_cast<std::uint8_t>(
        (options_.clean_text ? bert::kRemoved | bert::kSpace : 0) |
        (options_.handle_chinese_chars ? bert::kChinese : 0) |
        (options_.strip_accents ? bert::kDecomposes | bert::kNonstarter | bert::kMark : 0) |
        (options_.lowercase ? bert::kCased : 0));
  }

  void normalize(std::string_view from, std::uint32_t first_char,
                 NormalizedText& to) const override {
    to.clear();
    if (to.tracked) {
      run<true>(from, first_char, to);
    } else {
      run<false>(from, first_char, to);
    }
  }

 private:
  static constexpr unsigned char kDrop = 0xff;

  // A combining character that waits for the end of its run. A character that NFD added to the one
  // before
  // (`added`) has no place of its own in the source.
  struct Waiting {
    std::uint32_t code_point;
    int combining_class;
    bool added;
    std::uint32_t source;
  };

  // What one call writes to; its run of combining characters hangs on the last starter.
  struct Output {
    NormalizedText& to;
    std::vector<Waiting>& waiting;
    std::uint32_t last_source = 0;  // of the last starter
  };

  template <bool tracked>
  void run(std::string_view from, std::uint32_t first_char, NormalizedText& to) const {
    thread_local std::vector<Waiting> waiting;
    waiting.clear();
    Output out{to, waiting, first_char};
    to.text.reserve(from.size() + from.size() / 2);
    std::uint32_t number = first_char;
    const char* at = from.data();
    const char* const end = at + from.size();
    while (at != end) {
      if (static_cast<unsigned char>(*at) < 0x80) {
        if (!waiting.empty()) flush<tracked>(out);
        at = run_ascii<tracked>(at, end, number, out);
        continue;
      }
      const auto [c, length] = decode_utf8(at);
      const std::uint8_t flags = bert::flags_of(c);
      if ((flags & plain_mask_) == 0) {
        if (!waiting.empty()) flush<tracked>(out);
        to.text.append(at, length);
        if constexpr (tracked)
          to.origins.insert(to.origins.end(), length, CharRange{number, number + 1});
        out.last_source = number;
      } else {
        convert<tracked>(c, flags, number, out);
      }
      at += length;
      ++number;
    }
    flush<tracked>(out);
  }

  template <bool tracked>
  const char* run_ascii(const char* at, const char* end, std::uint32_t& number, Output& out) const {
    const char* stop = at;
    while (stop != end && static_cast<unsigned char>(*stop) < 0x80) ++stop;
    const std::size_t before = out.to.text.size();
    out.to.text.resize(before + static_cast<std::size_t>(stop - at));
    char* const begin = out.to.text.data() + before;
    char* write = begin;
    for (; at != stop; ++at, ++number) {
      const unsigned char c = ascii_[static_cast<unsigned char>(*at)];
      *write = static_cast<char>(c);
      write += c != kDrop;
      if constexpr (tracked) {
        if (c != kDrop) out.to.origins.emplace_back(number, number + 1);
      }
    }
    out.last_source = number - 1;
    out.to.text.resize(before + static_cast<std::size_t>(write - begin));
    return at;
  }

  // The slow way, for characters that change.
  template <bool tracked>
  void convert(std::uint32_t c, std::uint8_t flags, std::uint32_t number, Output& out) const {
    if (options_.clean_text && (flags & bert::kRemoved)) return;
    if (options_.clean_text && (flags & bert::kSpace)) {
      flush<tracked>(out);
      out.last_source = number;
      return emit<tracked>(' ', number, out);
    }
    const bool chinese = options_.handle_chinese_chars && (flags & bert::kChinese);
    if (chinese) {
      flush<tracked>(out);
      emit<tracked>(' ', number, out);
    }
    if (options_.strip_accents) {
      std::uint32_t parts[8] = {c};
      const int n = (flags & bert::kDecomposes) ? bert::decompose(c, parts) : 1;
      for (int i = 0; i < n; ++i) add_part<tracked>(parts[i], i > 0, number, out);
    } else {
      emit_lower<tracked>(c, number, out);
    }
    if (chinese) {
      flush<tracked>(out);
      emit<tracked>(' ', number, out);
    }
  }

  // One character of an NFD text, in the order before combining characters are sorted.
  template <bool tracked>
  void add_part(std::uint32_t c, bool added, std::uint32_t number, Output& out) const {
    const std::uint8_t flags = bert::flags_of(c);
    if (flags & bert::kNonstarter) {
      out.waiting.push_back({c, bert::combining_class(c), added, number});
      return;
    }
    flush<tracked>(out);
    out.last_source = number;
    if (!(flags & bert::kMark)) emit_lower<tracked>(c, number, out);
  }

  // Ends a run of combining characters: sorts it by class, drops the marks, writes the rest. The
  // sources go to the sorted characters in their own order, and an added one shares that of the one
  // before it.
  template <bool tracked>
  void flush(Output& out) const {
    std::vector<Waiting>& waiting = out.waiting;
    if (waiting.empty()) return;
    if (waiting.size() > 1) {
      thread_local std::vector<std::uint32_t> sources;
      sources.clear();
      for (const Waiting& w : waiting) {
        if (!w.added) sources.push_back(w.source);
      }
      std::ranges::stable_sort(waiting, {}, &Waiting::combining_class);
      std::size_t next = 0;
      for (Waiting& w : waiting) {
        if (!w.added) out.last_source = sources[next++];
        w.source = out.last_source;
      }
    }
    for (const Waiting& w : waiting) {
      if (!(bert::flags_of(w.code_point) & bert::kMark))
        emit_lower<tracked>(w.code_point, w.source, out);
    }
    waiting.clear();
  }

  template <bool tracked>
  void emit_lower(std::uint32_t c, std::uint32_t number, Output& out) const {
    if (!options_.lowercase) return emit<tracked>(c, number, out);
    std::uint32_t lower[2];
    const int n = bert::lower_case(c, lower);
    for (int i = 0; i < n; ++i) emit<tracked>(lower[i], number, out);
  }

  template <bool tracked>
  static void emit(std::uint32_t c, std::uint32_t number, Output& out) {
    append_utf8(out.to.text, c);
    if constexpr (tracked) out.to.origins.resize(out.to.text.size(), CharRange{number, number + 1});
  }

  BertOptions options_;
  std::array<unsigned char, 128> ascii_{};
  std::uint8_t plain_mask_ = 0;  // a character with none of these flags stays as it is
};

}  // namespace

std::unique_ptr<const Normalizer> make_normalizer_part(const TokenizerPart& part) {
  if (auto normalizer = make_plain_normalizer(part)) return normalizer;
  if (part.type() != "BertNormalizer") {
    part.unsupported(
        "BertNormalizer, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, Prepend, Replace, Sequence, Strip, "
        "StripAccents");
  }
  BertOptions options;
  options.clean_text = part.boolean("clean_text", true);
  options.handle_chinese_chars = part.boolean("handle_chinese_chars", true);
  options.lowercase = part.boolean("lowercase", true);
  options.strip_accents = part.optional_boolean("strip_accents").value_or(options.lowercase);
  return std::make_unique<BertNormalizer>(options);
}

std::unique_ptr<const Normalizer> make_normalizer(const Json& json, const std::string& origin) {
  if (json.is_null()) return std::make_unique<KeepText>();
  return make_normalizer_part(TokenizerPart(json, origin + ": normalizer"));
}

}  // namespace gpumcp::gpu_runtime
