#include "gpu_runtime/tokenizer_decoder.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "gpu_runtime/tokenizer_parts.h"

namespace gpumcp::gpu_runtime {
namespace {

class JoinDecoder final : public TokenDecoder {
 public:
  std::string decode(const std::vector<std::string_view>& tokens) const override {
    return fmt::format("{}", fmt::join(tokens, " "));
  }
};

// Joins "##" tokens to the one before and puts a space before the others. cleanup takes the space
// away again where English has none; it looks at one token at a time, as `tokenizers` does.
class WordPieceDecoder final : public TokenDecoder {
 public:
  WordPieceDecoder(std::string prefix, bool cleanup)
      : prefix_(std::move(prefix)), cleanup_(cleanup) {}

  std::string decode(const std::vector<std::string_view>& tokens) const override {
    std::string text, part;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
      part.clear();
      if (i > 0 && tokens[i].starts_with(prefix_)) {
        part += tokens[i].substr(prefix_.size());
      } else {
        if (i > 0) part += ' ';
        part += tokens[i];
      }
      if (cleanup_) clean(part);
      text += part;
    }
    return text;
  }

 private:
  static void clean(std::string& text) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kReplacements{{
        {" .", "."},
        {" ?", "?"},
        {" !", "!"},
        {" ,", ","},
        {" ' ", "'"},
        {" n't", "n't"},
        {" 'm", "'m"},
        {" do not", " don't"},
        {" 's", "'s"},
        {" 've", "'ve"},
        {" 're", "'re"},
    }};
    for (const auto& [from, to] : kReplacements) {
      for (std::size_t at = text.find(from); at != text.npos;
           at = text.find(from, at + to.size())) {
        text.replace(at, from.size(), to);
      }
    }
  }

  std::string prefix_;
  bool cleanup_;
};

}  // namespace

std::unique_ptr<const TokenDecoder> make_decoder(const Json& json, const std::string& origin) {
  if (json.is_null()) return std::make_unique<JoinDecoder>();
  const TokenizerPart part(json, origin + ": decoder");
  if (part.type() != "WordPiece") part.unsupported("WordPiece");
  return std::make_unique<WordPieceDecoder>(part.string("prefix", "##"),
                                            part.boolean("cleanup", true));
}

}  // namespace gpumcp::gpu_runtime
