#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "gpu_runtime/tokenizer_bytes.h"
#include "gpu_runtime/tokenizer_merges.h"
#include "gpu_runtime/tokenizer_model.h"
#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/tokenizer_word_cache.h"
#include "gpu_runtime/unicode.h"
#include "gpu_runtime/vocabulary.h"

// BPE: a piece begins as its characters (or bytes), and neighbours are merged in the order in which
// training merged them. After a ByteLevel pre-tokenizer pieces are bytes, and each token of the
// vocabulary is read as the bytes it stands for.
namespace gpumcp::gpu_runtime {
namespace {

constexpr std::size_t kMaxMerges = std::size_t{1} << 23;

struct BpeOptions {
  std::optional<std::int32_t> unk;
  std::string prefix, suffix;  // continuing_subword_prefix, end_of_word_suffix
  bool fuse_unk = false, byte_fallback = false, ignore_merges = false, byte_level = false;
};

class Bpe final : public TokenModel {
 public:
  Bpe(Vocabulary vocabulary, Merges merges, BpeOptions options)
      : vocabulary_(std::move(vocabulary)),
        merges_(std::move(merges)),
        options_(std::move(options)) {
    bytes_.fill(Trie::kNone);
    fallback_.fill(Trie::kNone);
    std::vector<std::pair<std::string, std::int32_t>> spelled;
    for (const auto& [token, id] : vocabulary_.tokens()) {
      if (const auto byte = byte_of_fallback(token)) fallback_[*byte] = id;
      if (!options_.byte_level) continue;
      auto bytes = bytes_of_token(token);
      if (!bytes) continue;
      if (bytes->size() == 1) bytes_[static_cast<unsigned char>(bytes->front())] = id;
      spelled.emplace_back(std::move(*bytes), id);
    }
    if (options_.byte_level && options_.ignore_merges) {
      std::vector<std::pair<std::string_view, std::int32_t>> entries;
      for (const auto& [bytes, id] : spelled) entries.emplace_back(bytes, id);
      words_ = Trie(std::move(entries));
    }
    find_joints();
  }

  void tokenize(const PreTokenizedText& text, TokenList& to) const override {
    WordCache& cache = WordCache::of_thread(cache_key_);
    const std::string_view whole = text.normalized.text;
    for (const Piece& piece : text.pieces) {
      for (std::uint32_t begin = piece.begin; begin < piece.end;) {
        const std::uint32_t end = joint(whole, begin, piece.end);
        tokenize_word(whole.substr(begin, end - begin), text.normalized, begin, cache, to);
        begin = end;
      }
    }
  }

  std::optional<std::int32_t> token_to_id(std::string_view token) const override {
    return vocabulary_.find(token);
  }
  std::optional<std::string_view> id_to_token(std::int32_t id) const override {
    return vocabulary_.token(id);
  }
  std::optional<std::int32_t> unk_id() const override { return options_.unk; }
  std::size_t vocab_size() const override { return vocabulary_.size(); }

 private:
  static constexpr std::string_view kMark = "▁";

  // Without a pre-tokenizer that cuts, a piece is a whole text. Where a byte stands before "▁" that
  // stands before it in no token, nothing is ever merged across, so the text is cut there: words
  // are short then, and can be looked up.
  void find_joints() {
    cut_ = !options_.byte_level && !options_.ignore_merges && options_.prefix.empty() &&
           options_.suffix.empty() && vocabulary_.find(kMark).has_value();
    for (const auto& [token, id] : vocabulary_.tokens()) {
      for (std::size_t at = token.find(kMark, 1); at != token.npos;
           at = token.find(kMark, at + 1)) {
        joins_[static_cast<unsigned char>(token[at - 1])] = true;
        // "<0x41>▁": a byte token's product hides the byte that stands before the mark in a text.
        if (at >= 6 && byte_of_fallback(std::string_view(token).substr(at - 6, 6))) cut_ = false;
      }
    }
    joins_[static_cast<unsigned char>(kMark.back())] = true;
  }

  std::uint32_t joint(std::string_view text, std::uint32_t begin, std::uint32_t end) const {
    if (!cut_) return end;
    for (std::uint32_t at = begin + 1; at + kMark.size() <= end; ++at) {
      if (text[at] == kMark[0] && text[at + 1] == kMark[1] && text[at + 2] == kMark[2] &&
          !joins_[static_cast<unsigned char>(text[at - 1])])
        return at;
    }
    return end;
  }

  void tokenize_word(std::string_view word, const NormalizedText& text, std::uint32_t begin,
                     WordCache& cache, TokenList& to) const {
    if (!to.tracked) {
      if (const auto* known = cache.find(word)) {
        to.ids.insert(to.ids.end(), known->ids.begin(), known->ids.begin() + known->size);
        return;
      }
    }
    thread_local std::vector<Symbol> symbols;
    symbols.clear();
    const std::int32_t whole = options_.ignore_merges ? find_word(word) : Trie::kNone;
    if (whole != Trie::kNone) {
      symbols.push_back({whole, static_cast<std::uint32_t>(word.size())});
    } else {
      options_.byte_level ? spell_bytes(word, symbols) : spell_chars(word, symbols);
      merges_.apply(symbols);
    }
    const std::size_t first = to.ids.size();
    std::uint32_t at = begin;
    for (const Symbol& symbol : symbols) {
      to.ids.push_back(symbol.id);
      if (to.tracked) {
        to.offsets.emplace_back(text.origins[at].first,
                                text.origins[at + symbol.length - 1].second);
      }
      at += symbol.length;
    }
    if (symbols.capacity() > 100'000) symbols = {};
    if (!to.tracked) cache.put(word, std::span(to.ids).subspan(first));
  }

  std::int32_t find_word(std::string_view word) const {
    return options_.byte_level ? words_.find(word) : vocabulary_.trie().find(word);
  }

  void spell_bytes(std::string_view word, std::vector<Symbol>& symbols) const {
    Unknown unknown;
    for (const char c : word) {
      const std::int32_t id = bytes_[static_cast<unsigned char>(c)];
      id != Trie::kNone ? add_known(id, 1, unknown, symbols) : add_unknown(1, unknown, symbols);
    }
    flush(unknown, symbols);
  }

  void spell_chars(std::string_view word, std::vector<Symbol>& symbols) const {
    Unknown unknown;
    std::string spelled;
    const bool affixes = !options_.prefix.empty() || !options_.suffix.empty();
    for (std::uint32_t at = 0; at < word.size();) {
      const std::uint32_t length = decode_utf8(word.data() + at).length;
      std::string_view c = word.substr(at, length);
      if (affixes) {
        spelled = at > 0 ? options_.prefix : "";
        spelled += c;
        if (at + length == word.size()) spelled += options_.suffix;
        c = spelled;
      }
      const std::int32_t id = vocabulary_.trie().find(c);
      if (id != Trie::kNone) {
        add_known(id, length, unknown, symbols);
      } else if (options_.byte_fallback && std::ranges::all_of(c, [&](char byte) {
                   return fallback_[static_cast<unsigned char>(byte)] != Trie::kNone;
                 })) {
        for (const char byte : c)
          symbols.push_back({fallback_[static_cast<unsigned char>(byte)], 1});
      } else {
        add_unknown(length, unknown, symbols);
      }
      at += length;
    }
    flush(unknown, symbols);
  }

  // Unknown characters wait, because fuse_unk makes one token of several.
  struct Unknown {
    std::uint32_t length = 0;
  };
  void flush(Unknown& unknown, std::vector<Symbol>& symbols) const {
    if (unknown.length > 0) symbols.push_back({*options_.unk, unknown.length});
    unknown.length = 0;
  }
  void add_known(std::int32_t id, std::uint32_t length, Unknown& unknown,
                 std::vector<Symbol>& symbols) const {
    flush(unknown, symbols);
    symbols.push_back({id, length});
  }
  void add_unknown(std::uint32_t length, Unknown& unknown, std::vector<Symbol>& symbols) const {
    if (!options_.unk) return;  // left out, as with `tokenizers`
    if (!options_.fuse_unk) flush(unknown, symbols);
    unknown.length += length;
  }

  Vocabulary vocabulary_;
  Merges merges_;
  BpeOptions options_;
  Trie words_;  // tokens as bytes, where ignore_merges looks for whole words
  std::array<std::int32_t, 256> bytes_{}, fallback_{};
  std::array<bool, 256> joins_{};  // stands before "▁" inside a token
  bool cut_ = false;
  std::uint64_t cache_key_ = WordCache::new_key();
};

// "a b" or ["a", "b"].
std::pair<std::string_view, std::string_view> read_merge(const Json& json,
                                                         const std::string& name) {
  if (json.is_array() && json.size() == 2 && json[0].is_string() && json[1].is_string())
    return {json[0].get_ref<const std::string&>(), json[1].get_ref<const std::string&>()};
  if (json.is_string()) {
    const std::string_view text = json.get_ref<const std::string&>();
    const auto space = text.find(' ');
    if (space != text.npos && text.find(' ', space + 1) == text.npos)
      return {text.substr(0, space), text.substr(space + 1)};
  }
  throw Error(ErrorCode::corrupt_checkpoint,
              fmt::format("{}: must be two tokens, \"a b\" or [\"a\", \"b\"], but is {}", name,
                          describe_json(json)));
}

Merges read_merges(const Json& list, const Vocabulary& vocabulary, const std::string& prefix,
                   const std::string& name) {
  if (!list.is_array() || list.size() > kMaxMerges) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: must be an array of at most {} merges", name, kMaxMerges));
  }
  Merges merges(list.size());
  std::string product;
  for (std::size_t rank = 0; rank < list.size(); ++rank) {
    const auto where = [&] { return fmt::format("{}[{}]", name, rank); };
    const Json& item = list[rank];
    const auto [left, right] =
        item.is_array() && item.size() == 2 ? read_merge(item, name) : read_merge(item, where());
    const auto id_of = [&](std::string_view token) {
      const auto id = vocabulary.find(token);
      if (!id) {
        throw Error(ErrorCode::corrupt_checkpoint,
                    fmt::format("{}: {} is not in the vocabulary: the file is damaged, pull the "
                                "model again",
                                where(), describe_json(Json(std::string(token)))));
      }
      return *id;
    };
    const std::int32_t l = id_of(left), r = id_of(right);
    product = left;
    product += right.starts_with(prefix) ? right.substr(prefix.size()) : right;
    merges.add(l, r, {static_cast<std::uint32_t>(rank), id_of(product)});
  }
  return merges;
}

}  // namespace

std::unique_ptr<const TokenModel> make_bpe(const Json& json, const std::string& origin,
                                           bool byte_level) {
  const TokenizerPart part(json, origin + ": model");
  if (const Json* dropout = part.find("dropout")) {
    if (!dropout->is_number()) part.refuse("dropout", "a number or null", *dropout);
    if (dropout->get<double>() != 0) {
      throw Error(ErrorCode::unsupported,
                  fmt::format("{}: dropout {} makes random tokens, which is for training; set it "
                              "to null in the file",
                              part.name(), dropout->dump()));
    }
  }
  BpeOptions options;
  options.fuse_unk = part.boolean("fuse_unk", false);
  options.byte_fallback = part.boolean("byte_fallback", false);
  options.ignore_merges = part.boolean("ignore_merges", false);
  options.byte_level = byte_level;
  options.prefix = part.string("continuing_subword_prefix", "");
  options.suffix = part.string("end_of_word_suffix", "");
  if (byte_level && !(options.prefix.empty() && options.suffix.empty())) {
    throw Error(
        ErrorCode::unsupported,
        fmt::format("{}: continuing_subword_prefix and end_of_word_suffix are not supported "
                    "together with a ByteLevel pre-tokenizer",
                    part.name()));
  }
  Vocabulary vocabulary(part.at("vocab"), part.name() + ": vocab");
  if (part.find("unk_token")) {
    const std::string unk = part.string("unk_token");
    options.unk = vocabulary.find(unk);
    if (!options.unk && !unk.empty()) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  fmt::format("{}: unk_token {} is not in the vocabulary", part.name(),
                              describe_json(Json(unk))));
    }
  }
  Merges merges =
      read_merges(part.at("merges"), vocabulary, options.prefix, part.name() + ": merges");
  return std::make_unique<Bpe>(std::move(vocabulary), std::move(merges), std::move(options));
}

}  // namespace gpumcp::gpu_runtime
