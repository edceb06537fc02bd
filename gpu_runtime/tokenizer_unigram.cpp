#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "gpu_runtime/error.h"
#include "gpu_runtime/tokenizer_bytes.h"
#include "gpu_runtime/tokenizer_model.h"
#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/trie.h"
#include "gpu_runtime/unicode.h"

// Unigram: of all ways to cut a piece into tokens, the one with the greatest sum of scores.
namespace gpumcp::gpu_runtime {
namespace {

constexpr double kUnknownPenalty = 10;

class Unigram final : public TokenModel {
 public:
  Unigram(std::vector<std::string> tokens, std::vector<double> scores,
          std::optional<std::int32_t> unk, bool byte_fallback)
      : tokens_(std::move(tokens)),
        scores_(std::move(scores)),
        unk_(unk),
        byte_fallback_(byte_fallback) {
    std::vector<std::pair<std::string_view, std::int32_t>> entries;
    fallback_.fill(Trie::kNone);
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      const auto id = static_cast<std::int32_t>(i);
      entries.emplace_back(tokens_[i], id);
      if (const auto byte = byte_of_fallback(tokens_[i])) fallback_[*byte] = id;
    }
    trie_ = Trie(std::move(entries));
    unk_score_ = *std::ranges::min_element(scores_) - kUnknownPenalty;
  }

  void tokenize(const PreTokenizedText& text, TokenList& to) const override {
    for (const Piece& piece : text.pieces) tokenize_piece(text.normalized, piece, to);
  }

  std::optional<std::int32_t> token_to_id(std::string_view token) const override {
    const std::int32_t id = trie_.find(token);
    return id == Trie::kNone ? std::nullopt : std::optional(id);
  }
  std::optional<std::string_view> id_to_token(std::int32_t id) const override {
    if (id < 0 || static_cast<std::size_t>(id) >= tokens_.size()) return {};
    return tokens_[static_cast<std::size_t>(id)];
  }
  std::optional<std::int32_t> unk_id() const override { return unk_; }
  std::size_t vocab_size() const override { return tokens_.size(); }

 private:
  // The best way to reach a byte of the piece: the last token and where it begins.
  struct Node {
    double score = 0;
    std::int32_t id = Trie::kNone;
    std::uint32_t begin = kNowhere;
  };
  static constexpr std::uint32_t kNowhere = 0xffffffff;

  void tokenize_piece(const NormalizedText& text, Piece piece, TokenList& to) const {
    const char* const data = text.text.data() + piece.begin;
    const std::uint32_t size = piece.end - piece.begin;
    thread_local std::vector<Node> best;
    best.assign(size + 1, {});
    for (std::uint32_t at = 0; at < size;) {
      const std::uint32_t length = decode_utf8(data + at).length;
      const double score = best[at].score;
      bool single = false;
      const auto offer = [&](std::int32_t id, std::uint32_t n, double own) {
        Node& node = best[at + n];
        if (node.begin == kNowhere || score + own > node.score) node = {score + own, id, at};
      };
      trie_.for_each_prefix(data + at, data + size, [&](std::int32_t id, std::uint32_t n) {
        offer(id, n, scores_[static_cast<std::size_t>(id)]);
        single = single || n == length;
      });
      if (!single) offer(Trie::kNone, length, unk_score_);
      at += length;
    }
    struct Found {
      std::int32_t id;
      std::uint32_t begin, end;
    };
    thread_local std::vector<Found> found;  // last first
    found.clear();
    for (std::uint32_t end = size; end > 0; end = best[end].begin) {
      const Node& node = best[end];
      const bool unknown = node.id == Trie::kNone || (unk_ && node.id == *unk_);
      if (unknown && !found.empty() && found.back().id == Trie::kNone) {
        found.back().begin = node.begin;  // neighbours that are unknown are one
      } else {
        found.push_back({unknown ? Trie::kNone : node.id, node.begin, end});
      }
    }
    for (std::size_t i = found.size(); i-- > 0;) {
      if (found[i].id != Trie::kNone) {
        add(found[i].id, text, piece.begin + found[i].begin, piece.begin + found[i].end, to);
      } else {
        add_unknown(text, piece.begin + found[i].begin, piece.begin + found[i].end, to);
      }
    }
    if (best.capacity() > 1'000'000) best = {};
  }

  void add_unknown(const NormalizedText& text, std::uint32_t begin, std::uint32_t end,
                   TokenList& to) const {
    const std::string_view bytes = std::string_view(text.text).substr(begin, end - begin);
    const auto id_of = [&](char byte) { return fallback_[static_cast<unsigned char>(byte)]; };
    if (const std::int32_t id = trie_.find(bytes); id != Trie::kNone)
      return add(id, text, begin, end, to);
    if (byte_fallback_ &&
        std::ranges::all_of(bytes, [&](char byte) { return id_of(byte) != Trie::kNone; })) {
      for (const char byte : bytes) add(id_of(byte), text, begin, end, to);
    } else if (unk_) {
      add(*unk_, text, begin, end, to);
    } else {
      throw Error(ErrorCode::invalid_argument,
                  "the text holds a character that the tokenizer's vocabulary lacks, and its "
                  "\"unk_id\" is null; leave the character out");
    }
  }

  static void add(std::int32_t id, const NormalizedText& text, std::uint32_t begin,
                  std::uint32_t end, TokenList& to) {
    to.ids.push_back(id);
    if (to.tracked)
      to.offsets.emplace_back(text.origins[begin].first, text.origins[end - 1].second);
  }

  std::vector<std::string> tokens_;
  std::vector<double> scores_;
  std::optional<std::int32_t> unk_;
  bool byte_fallback_;
  Trie trie_;
  std::array<std::int32_t, 256> fallback_{};
  double unk_score_ = 0;
};

}  // namespace

std::unique_ptr<const TokenModel> make_unigram(const Json& json, const std::string& origin) {
  const TokenizerPart part(json, origin + ": model");
  const Json& vocab = part.at("vocab");
  if (!vocab.is_array() || vocab.empty() || vocab.size() > static_cast<std::size_t>(kMaxTokenId)) {
    part.refuse("vocab", fmt::format("an array of 1 to {} tokens with scores", kMaxTokenId), vocab);
  }
  std::vector<std::string> tokens;
  std::vector<double> scores;
  for (std::size_t i = 0; i < vocab.size(); ++i) {
    const Json& entry = vocab[i];
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number() ||
        !std::isfinite(entry[1].get<double>())) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  fmt::format("{}: vocab[{}]: must be [token, score], but is {}", part.name(), i,
                              describe_json(entry)));
    }
    tokens.push_back(entry[0].get<std::string>());
    scores.push_back(entry[1].get<double>());
  }
  std::optional<std::int32_t> unk;
  if (part.find("unk_id")) {
    unk = static_cast<std::int32_t>(
        part.integer("unk_id", 0, static_cast<std::int64_t>(tokens.size()) - 1));
  }
  return std::make_unique<Unigram>(std::move(tokens), std::move(scores), unk,
                                   part.boolean("byte_fallback", false));
}

}  // namespace gpumcp::gpu_runtime
