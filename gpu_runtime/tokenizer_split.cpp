#include "gpu_runtime/tokenizer_split.h"

#include <utf8proc.h>

#include <functional>
#include <utility>

#include "gpu_runtime/bert_unicode.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

class RegexSplit final : public PieceSplitter {
 public:
  RegexSplit(Regex regex, SplitBehavior behavior, bool invert)
      : regex_(std::move(regex)), behavior_(behavior), invert_(invert) {}

 private:
  void split_piece(std::string_view text, Piece piece, std::vector<Piece>& out) const override {
    thread_local std::vector<Piece> matches;
    thread_local std::vector<Stretch> stretches;
    matches.clear();
    stretches.clear();
    regex_.find_all(text, piece, matches);
    std::uint32_t at = piece.begin;
    for (const Piece match : matches) {
      if (at < match.begin) stretches.push_back({{at, match.begin}, invert_});
      stretches.push_back({match, !invert_});
      at = match.end;
    }
    if (at < piece.end) stretches.push_back({{at, piece.end}, invert_});
    apply_behavior(stretches, behavior_, out);
  }

  Regex regex_;
  SplitBehavior behavior_;
  bool invert_;
};

// Cuts by what single characters are.
class CharSplit final : public PieceSplitter {
 public:
  CharSplit(std::function<bool(std::uint32_t)> is_match, SplitBehavior behavior)
      : is_match_(std::move(is_match)), behavior_(behavior) {}

 private:
  void split_piece(std::string_view text, Piece piece, std::vector<Piece>& out) const override {
    thread_local std::vector<Stretch> stretches;
    stretches.clear();
    std::uint32_t begin = piece.begin;
    for (std::uint32_t at = piece.begin; at < piece.end;) {
      const DecodedChar c = decode_utf8(text.data() + at);
      if (is_match_(c.code_point)) {
        if (begin < at) stretches.push_back({{begin, at}, false});
        stretches.push_back({{at, at + c.length}, true});
        begin = at + c.length;
      }
      at += c.length;
    }
    if (begin < piece.end) stretches.push_back({{begin, piece.end}, false});
    apply_behavior(stretches, behavior_, out);
  }

  std::function<bool(std::uint32_t)> is_match_;
  SplitBehavior behavior_;
};

// Numbers that came after Unicode 14, which the oldest utf8proc here knows; Rust's are of
// Unicode 17.
constexpr std::pair<std::uint32_t, std::uint32_t> kNewNumbers[] = {
    {0x10d40, 0x10d49}, {0x116d0, 0x116e3}, {0x11bf0, 0x11bf9}, {0x11de0, 0x11de9},
    {0x11f50, 0x11f59}, {0x16130, 0x16139}, {0x16d70, 0x16d79}, {0x16ff4, 0x16ff6},
    {0x1ccf0, 0x1ccf9}, {0x1d2c0, 0x1d2d3}, {0x1e4f0, 0x1e4f9}, {0x1e5f1, 0x1e5fa}};

// Rust's char::is_numeric: Nd, Nl, No.
bool is_numeric(std::uint32_t c) {
  if (c < 0x80) return c >= '0' && c <= '9';
  if (c >= kNewNumbers[0].first) {
    for (const auto& [first, last] : kNewNumbers) {
      if (c >= first && c <= last) return true;
    }
  }
  const auto category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(std::uint32_t c) { return bert::flags_of(c) & bert::kPunctuation; }

}  // namespace

SplitBehavior read_behavior(const TokenizerPart& part) {
  const std::string name = part.string("behavior", "Isolated");
  if (name == "Removed") return SplitBehavior::removed;
  if (name == "Isolated") return SplitBehavior::isolated;
  if (name == "MergedWithPrevious") return SplitBehavior::merged_with_previous;
  if (name == "MergedWithNext") return SplitBehavior::merged_with_next;
  if (name == "Contiguous") return SplitBehavior::contiguous;
  part.refuse("behavior", "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous",
              part.at("behavior"));
}

void apply_behavior(std::vector<Stretch>& stretches, SplitBehavior behavior,
                    std::vector<Piece>& pieces) {
  const auto add = [&](Piece piece) {
    if (piece.begin < piece.end) pieces.push_back(piece);
  };
  // Merging looks at one neighbour: two matches in a row stay two.
  for (std::size_t i = 0; i < stretches.size(); ++i) {
    Piece piece = stretches[i].piece;
    switch (behavior) {
      case SplitBehavior::removed:
        if (!stretches[i].match) add(piece);
        break;
      case SplitBehavior::isolated:
        add(piece);
        break;
      case SplitBehavior::contiguous:
        while (i + 1 < stretches.size() && stretches[i + 1].match == stretches[i].match)
          piece.end = stretches[++i].piece.end;
        add(piece);
        break;
      case SplitBehavior::merged_with_previous:
        if (!stretches[i].match && i + 1 < stretches.size() && stretches[i + 1].match)
          piece.end = stretches[++i].piece.end;
        add(piece);
        break;
      case SplitBehavior::merged_with_next:
        if (stretches[i].match && i + 1 < stretches.size() && !stretches[i + 1].match)
          piece.end = stretches[++i].piece.end;
        add(piece);
        break;
    }
  }
}

void PieceSplitter::split(PreTokenizedText& text) const {
  thread_local std::vector<Piece> out;
  out.clear();
  for (const Piece piece : text.pieces) split_piece(text.normalized.text, piece, out);
  text.pieces.swap(out);
}

std::unique_ptr<const PreTokenizer> make_split(const TokenizerPart& part) {
  const TokenizerPart pattern(part.at("pattern"), part.name() + ": pattern");
  const bool invert = part.boolean("invert", false);
  const SplitBehavior behavior = read_behavior(part);
  Regex regex = pattern.find("Regex") ? Regex(pattern.string("Regex"), part.name())
                                      : Regex::literal(pattern.string("String"), part.name());
  return std::make_unique<RegexSplit>(std::move(regex), behavior, invert);
}

std::unique_ptr<const PreTokenizer> make_char_splitter(const TokenizerPart& part) {
  using enum SplitBehavior;
  const std::string type = part.type();
  if (type == "Digits") {
    const bool one = part.boolean("individual_digits", false);
    return std::make_unique<CharSplit>(is_numeric, one ? isolated : contiguous);
  }
  if (type == "Punctuation")
    return std::make_unique<CharSplit>(is_punctuation, read_behavior(part));
  if (type == "WhitespaceSplit") return std::make_unique<CharSplit>(is_white_space, removed);
  if (type == "Whitespace") {
    return std::make_unique<RegexSplit>(Regex(R"(\w+|[^\w\s]+)", part.name()), removed, true);
  }
  if (type == "CharDelimiterSplit") {
    const std::string delimiter = part.string("delimiter");
    const std::uint32_t c = delimiter.empty() ? 0 : decode_utf8(delimiter.data()).code_point;
    if (delimiter.empty() || decode_utf8(delimiter.data()).length != delimiter.size())
      part.refuse("delimiter", "one character", part.at("delimiter"));
    return std::make_unique<CharSplit>([c](std::uint32_t other) { return other == c; }, removed);
  }
  return nullptr;
}

}  // namespace gpumcp::gpu_runtime
