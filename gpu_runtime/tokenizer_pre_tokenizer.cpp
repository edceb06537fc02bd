#include "gpu_runtime/tokenizer_pre_tokenizer.h"

#include <array>
#include <cstddef>

#include "gpu_runtime/bert_unicode.h"
#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

// No pre-tokenizer: the text is one piece.
class WholeText final : public PreTokenizer {
 public:
  void split(PreTokenizedText& text) const override {
    text.pieces.clear();
    const auto size = static_cast<std::uint32_t>(text.normalized.text.size());
    if (size > 0) text.pieces.push_back({0, size});
  }
};

// BertPreTokenizer: cuts at white space, which goes, and round each punctuation character, which
// stays.
class BertPreTokenizer final : public PreTokenizer {
 public:
  BertPreTokenizer() {
    for (std::uint32_t c = 0; c < ascii_.size(); ++c) ascii_[c] = kind_of(c);
  }

  void split(PreTokenizedText& text) const override {
    text.pieces.clear();
    const char* const data = text.normalized.text.data();
    const auto size = static_cast<std::uint32_t>(text.normalized.text.size());
    std::uint32_t begin = 0, at = 0;
    while (at < size) {
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
        if (begin < at) text.pieces.push_back({begin, at});
        if (kind == Kind::punctuation) text.pieces.push_back({at, at + length});
        begin = at + length;
      }
      at += length;
    }
    if (begin < size) text.pieces.push_back({begin, size});
  }

 private:
  enum class Kind : unsigned char { word, space, punctuation };

  static Kind kind_of(std::uint32_t c) {
    if (is_white_space(c)) return Kind::space;
    return bert::flags_of(c) & bert::kPunctuation ? Kind::punctuation : Kind::word;
  }

  std::array<Kind, 128> ascii_{};
};

}  // namespace

std::unique_ptr<const PreTokenizer> make_pre_tokenizer(const Json& json,
                                                       const std::string& origin) {
  if (json.is_null()) return std::make_unique<WholeText>();
  const TokenizerPart part(json, origin + ": pre_tokenizer");
  if (part.type() != "BertPreTokenizer") part.unsupported("BertPreTokenizer");
  return std::make_unique<BertPreTokenizer>();
}

}  // namespace gpumcp::gpu_runtime
