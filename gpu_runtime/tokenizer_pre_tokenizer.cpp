#include "gpu_runtime/tokenizer_pre_tokenizer.h"

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "gpu_runtime/bert_unicode.h"
#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/tokenizer_split.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

// No pre-tokenizer: the text is one piece.
class WholeText final : public PreTokenizer {
 public:
  void split(PreTokenizedText&) const override {}
};

// BertPreTokenizer: cuts at white space, which goes, and round each punctuation character, which
// stays.
class BertPreTokenizer final : public PieceSplitter {
 public:
  BertPreTokenizer() {
    for (std::uint32_t c = 0; c < ascii_.size(); ++c) ascii_[c] = kind_of(c);
  }

 private:
  void split_piece(std::string_view text, Piece piece, std::vector<Piece>& out) const override {
    const char* const data = text.data();
    std::uint32_t begin = piece.begin, at = piece.begin;
    while (at < piece.end) {
      const auto byte = static_cast<unsigned char>(data[at]);
      Kind kind;
      std::uint32_t length = 1;
      if (byte < 0x80) {
        kind = ascii_[byte];
      } else {
        const DecodedChar decoded = decode_utf8(data + at);
        kind = kind_of(decoded.code_point);
        length = decoded.length;
      }
      if (kind != Kind::word) {
        if (begin < at) out.push_back({begin, at});
        if (kind == Kind::punctuation) out.push_back({at, at + length});
        begin = at + length;
      }
      at += length;
    }
    if (begin < piece.end) out.push_back({begin, piece.end});
  }

  enum class Kind : unsigned char { word, space, punctuation };

  static Kind kind_of(std::uint32_t c) {
    if (is_white_space(c)) return Kind::space;
    return bert::flags_of(c) & bert::kPunctuation ? Kind::punctuation : Kind::word;
  }

  std::array<Kind, 128> ascii_{};
};

constexpr std::size_t kMaxPreTokenizers = 64;

// Rebuilds the text piece by piece, each behind what `rewrite` puts there for it.
template <class Rewrite>
void rewrite_pieces(PreTokenizedText& text, Rewrite&& rewrite) {
  thread_local NormalizedText out;
  out.clear();
  out.tracked = text.normalized.tracked;
  out.at_start = text.normalized.at_start;
  for (Piece& piece : text.pieces) {
    const auto begin = static_cast<std::uint32_t>(out.text.size());
    rewrite(text.normalized, piece, out);
    piece = {begin, static_cast<std::uint32_t>(out.text.size())};
  }
  std::swap(text.normalized, out);
}

void copy_piece(const NormalizedText& from, Piece piece, NormalizedText& to) {
  to.text.append(from.text, piece.begin, piece.end - piece.begin);
  if (!to.tracked) return;
  to.origins.insert(to.origins.end(), from.origins.begin() + piece.begin,
                    from.origins.begin() + piece.end);
}

// Writes text that stands for nothing of its own in front of what begins at `at`.
void put_before(const NormalizedText& from, std::uint32_t at, std::string_view what,
                NormalizedText& to) {
  to.text += what;
  if (to.tracked) to.origins.insert(to.origins.end(), what.size(), from.origins[at]);
}

// ByteLevel: GPT-2's expression, unless a Split before has cut the text already.
class ByteLevel final : public PreTokenizer {
 public:
  ByteLevel(bool add_prefix_space, bool use_regex, const std::string& name)
      : add_prefix_space_(add_prefix_space) {
    if (use_regex) words_ = std::make_unique<const GptWords>(name);
  }

  void split(PreTokenizedText& text) const override {
    if (add_prefix_space_) {
      rewrite_pieces(text, [](const NormalizedText& from, Piece piece, NormalizedText& to) {
        if (from.text[piece.begin] != ' ') put_before(from, piece.begin, " ", to);
        copy_piece(from, piece, to);
      });
    }
    if (words_) words_->split(text);
  }

  bool byte_level() const override { return true; }

 private:
  class GptWords final : public PieceSplitter {
   public:
    explicit GptWords(const std::string& name)
        : regex_(R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
                 name) {}

   private:
    void split_piece(std::string_view text, Piece piece, std::vector<Piece>& out) const override {
      regex_.find_all(text, piece, out);  // every character is in some match
    }
    Regex regex_;
  };

  bool add_prefix_space_;
  std::unique_ptr<const GptWords> words_;
};

// Metaspace: spaces become "▁", which words begin with.
class Metaspace final : public PreTokenizer {
 public:
  enum class Prepend { always, first, never };
  Metaspace(std::string replacement, Prepend prepend, bool split)
      : replacement_(std::move(replacement)), prepend_(prepend), split_(split) {}

  void split(PreTokenizedText& text) const override {
    bool at_start = text.normalized.at_start;
    rewrite_pieces(text, [&](const NormalizedText& from, Piece piece, NormalizedText& to) {
      const std::string_view whole = from.text;
      const bool marked =
          whole[piece.begin] == ' ' ||
          whole.substr(piece.begin, piece.end - piece.begin).starts_with(replacement_);
      if (!marked && (prepend_ == Prepend::always || (prepend_ == Prepend::first && at_start)))
        put_before(from, piece.begin, replacement_, to);
      at_start = false;
      for (std::uint32_t at = piece.begin; at < piece.end; ++at) {
        if (whole[at] == ' ') {
          put_before(from, at, replacement_, to);
        } else {
          copy_piece(from, {at, at + 1}, to);
        }
      }
    });
    if (!split_) return;
    thread_local std::vector<Piece> out;
    out.clear();
    const std::string_view whole = text.normalized.text;
    for (const Piece piece : text.pieces) {
      std::uint32_t begin = piece.begin;
      for (std::uint32_t at = piece.begin; at < piece.end;) {
        if (!whole.substr(at, piece.end - at).starts_with(replacement_)) {
          ++at;
          continue;
        }
        if (begin < at) out.push_back({begin, at});
        begin = at;
        at += static_cast<std::uint32_t>(replacement_.size());
      }
      if (begin < piece.end) out.push_back({begin, piece.end});
    }
    text.pieces.swap(out);
  }

 private:
  std::string replacement_;
  Prepend prepend_;
  bool split_;
};

std::unique_ptr<const PreTokenizer> make_metaspace(const TokenizerPart& part) {
  const std::string replacement = part.string("replacement", "▁");
  if (replacement.empty() || count_chars(replacement) != 1)
    part.refuse("replacement", "one character", part.at("replacement"));
  const std::string scheme =
      part.string("prepend_scheme", part.boolean("add_prefix_space", true) ? "always" : "never");
  using Prepend = Metaspace::Prepend;
  const auto prepend = scheme == "always"  ? Prepend::always
                       : scheme == "first" ? Prepend::first
                                           : Prepend::never;
  if (prepend == Prepend::never && scheme != "never")
    part.refuse("prepend_scheme", "always, first or never", part.at("prepend_scheme"));
  return std::make_unique<Metaspace>(replacement, prepend, part.boolean("split", true));
}

class SequenceOfPreTokenizers final : public PreTokenizer {
 public:
  explicit SequenceOfPreTokenizers(std::vector<std::unique_ptr<const PreTokenizer>> parts)
      : parts_(std::move(parts)) {}
  void split(PreTokenizedText& text) const override {
    for (const auto& part : parts_) part->split(text);
  }
  bool byte_level() const override { return !parts_.empty() && parts_.back()->byte_level(); }

 private:
  std::vector<std::unique_ptr<const PreTokenizer>> parts_;
};

std::unique_ptr<const PreTokenizer> make_part(const Json& json, const std::string& name);

std::unique_ptr<const PreTokenizer> make_sequence(const TokenizerPart& part) {
  const Json& list = part.at("pretokenizers");
  if (!list.is_array() || list.size() > kMaxPreTokenizers)
    part.refuse("pretokenizers", "an array of at most 64 parts", list);
  std::vector<std::unique_ptr<const PreTokenizer>> parts;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string name = fmt::format("{}: pretokenizers[{}]", part.name(), i);
    if (!parts.empty() && parts.back()->byte_level()) {
      throw Error(ErrorCode::unsupported,
                  fmt::format("{}: nothing may follow a ByteLevel pre-tokenizer here", name));
    }
    parts.push_back(make_part(list[i], name));
  }
  return std::make_unique<SequenceOfPreTokenizers>(std::move(parts));
}

std::unique_ptr<const PreTokenizer> make_part(const Json& json, const std::string& name) {
  const TokenizerPart part(json, name);
  const std::string type = part.type();
  if (type == "Sequence") return make_sequence(part);
  if (type == "BertPreTokenizer") return std::make_unique<BertPreTokenizer>();
  if (type == "Split") return make_split(part);
  if (type == "Metaspace") return make_metaspace(part);
  if (type == "ByteLevel") {
    return std::make_unique<ByteLevel>(part.boolean("add_prefix_space", true),
                                       part.boolean("use_regex", true), name);
  }
  if (auto splitter = make_char_splitter(part)) return splitter;
  part.unsupported(
      "BertPreTokenizer, ByteLevel, CharDelimiterSplit, Digits, Metaspace, Punctuation, Sequence, "
      "Split, Whitespace, WhitespaceSplit");
}

}  // namespace

std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& json,
                                                       const std::string& origin) {
  if (json.is_null()) return std::make_unique<WholeText>();
  return make_part(json, origin + ": pre_tokenizer");
}

}  // namespace gpumcp::gpu_runtime
