#include <fmt/format.h>

#include <utility>

#include "gpu_runtime/tokenizer_model.h"
#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/trie.h"
#include "gpu_runtime/unicode.h"
#include "gpu_runtime/vocabulary.h"

// WordPiece: each word becomes the longest token that it begins with, then the longest that
// continues it
// ("##…"), and so on; a word that cannot be covered, or is too long, becomes the unknown token.
namespace gpumcp::gpu_runtime {
namespace {

class WordPiece final : public TokenModel {
 public:
  WordPiece(Vocabulary vocabulary, std::string_view prefix, std::size_t max_chars, std::int32_t unk)
      : vocabulary_(std::move(vocabulary)), max_chars_(max_chars), unk_(unk) {
    std::vector<std::pair<std::string_view, std::int32_t>> continuing;
    for (const auto& [token, id] : vocabulary_.tokens()) {
      if (token.starts_with(prefix)) {
        continuing.emplace_back(std::string_view(token).substr(prefix.size()), id);
      }
    }
    continuing_ = Trie(std::move(continuing));
  }

  void tokenize(const PreTokenizedText& text, TokenList& to) const override {
    for (const Piece& piece : text.pieces) tokenize_word(text.normalized, piece, to);
  }

  std::optional<std::int32_t> token_to_id(std::string_view token) const override {
    return vocabulary_.find(token);
  }
  std::optional<std::string_view> id_to_token(std::int32_t id) const override {
    return vocabulary_.token(id);
  }
  std::optional<std::int32_t> unk_id() const override { return unk_; }
  std::size_t vocab_size() const override { return vocabulary_.size(); }

 private:
  void tokenize_word(const NormalizedText& text, Piece word, TokenList& to) const {
    const char* const data = text.text.data();
    const std::size_t first = to.ids.size();
    // Bytes bound characters, so only long words are counted.
    bool covered = word.end - word.begin <= max_chars_ ||
                   count_chars({data + word.begin, word.end - word.begin}) <= max_chars_;
    const Trie* trie = &vocabulary_.trie();
    std::uint32_t at = word.begin;
    while (covered && at < word.end) {
      const Trie::Match match = trie->longest_prefix(data + at, data + word.end);
      covered = match.value != Trie::kNone;
      if (!covered) break;
      to.ids.push_back(match.value);
      if (to.tracked) to.offsets.push_back(origin(text, at, at + match.length));
      at += match.length;
      trie = &continuing_;
    }
    if (covered) return;
    to.ids.resize(first);
    to.ids.push_back(unk_);
    if (to.tracked) {
      to.offsets.resize(first);
      to.offsets.push_back(origin(text, word.begin, word.end));
    }
  }

  static CharRange origin(const NormalizedText& text, std::uint32_t begin, std::uint32_t end) {
    return {text.origins[begin].first, text.origins[end - 1].second};
  }

  Vocabulary vocabulary_;
  Trie continuing_;
  std::size_t max_chars_;
  std::int32_t unk_;
};

}  // namespace

std::unique_ptr<const TokenModel> make_wordpiece(const Json& json, const std::string& origin) {
  const TokenizerPart part(json, origin + ": model");
  const std::string unk = part.string("unk_token", "[UNK]");
  const std::string prefix = part.string("continuing_subword_prefix", "##");
  const auto max_chars = part.integer("max_input_chars_per_word", 1, 1'000'000, 100);
  Vocabulary vocabulary(part.at("vocab"), part.name() + ": vocab");
  const auto unk_id = vocabulary.find(unk);
  if (!unk_id) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: unk_token {} is not in the vocabulary", part.name(),
                            describe_json(Json(unk))));
  }
  return std::make_unique<WordPiece>(std::move(vocabulary), prefix,
                                     static_cast<std::size_t>(max_chars), *unk_id);
}

std::unique_ptr<const TokenModel> make_token_model(const Json& json, const std::string& origin,
                                                   bool byte_level) {
  const TokenizerPart part(json, origin + ": model");
  // Older files leave "type" out; theirs are told by their fields.
  const std::string type = part.find("type")                       ? part.type()
                           : part.find("max_input_chars_per_word") ? "WordPiece"
                           : part.find("merges")                   ? "BPE"
                                                                   : "Unigram";
  if (type == "BPE") return make_bpe(json, origin, byte_level);
  if (type != "WordPiece" && type != "Unigram") part.unsupported("BPE, Unigram, WordPiece");
  if (byte_level) {
    throw Error(ErrorCode::unsupported,
                fmt::format("{}: a ByteLevel pre-tokenizer is supported with BPE only, not with {}",
                            part.name(), type));
  }
  return type == "Unigram" ? make_unigram(json, origin) : make_wordpiece(json, origin);
}

}  // namespace gpumcp::gpu_runtime
