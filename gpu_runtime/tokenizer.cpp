#include "gpu_runtime/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

#include "gpu_runtime/error.h"
#include "gpu_runtime/tokenizer_state.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::size_t kMaxTextBytes = std::size_t{1} << 30;     // offsets are 32 bits
constexpr std::size_t kMaxDecodedBytes = std::size_t{1} << 28;  // a hostile token may be long
constexpr std::size_t kKeptScratchBytes = std::size_t{1} << 20;

// One thread's working space; what a huge text made it grow to is given back after it.
struct Scratch {
  std::vector<Segment> segments, inner;
  PreTokenizedText text;
  PreTokenizedText part;  // a stretch of `text` between two added tokens that are normalized
  TokenList first, second;

  void trim() {
    if (text.normalized.text.capacity() > kKeptScratchBytes) *this = Scratch();
  }
};

Scratch& scratch() {
  thread_local Scratch space;
  return space;
}

void check_text(std::string_view text) {
  if (text.size() > kMaxTextBytes) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("a text of {} bytes is longer than the limit of {}", text.size(),
                            kMaxTextBytes));
  }
  if (const auto at = find_invalid_utf8(text)) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("the text is not valid UTF-8: byte {} (0x{:02x}) cannot stand there",
                            *at, static_cast<unsigned char>(text[*at])));
  }
}

void add_token(std::int32_t id, CharRange origin, TokenList& to) {
  to.ids.push_back(id);
  if (to.tracked) to.offsets.push_back(origin);
}

// What is normalized and holds no added token: pre-tokenizer and model.
void tokenize_part(const Tokenizer::State& state, PreTokenizedText& text, TokenList& to) {
  text.pieces.clear();
  if (text.normalized.text.empty()) return;
  text.pieces.push_back({0, static_cast<std::uint32_t>(text.normalized.text.size())});
  state.pre_tokenizer->split(text);
  state.model->tokenize(text, to);
}

// Cuts the added tokens out that are looked for in normalized text; the model gets what is between.
void tokenize_around_added(const Tokenizer::State& state, Scratch& space, TokenList& to) {
  const NormalizedText& whole = space.text.normalized;
  state.added_tokens.split_normalized(whole.text, space.inner);
  for (const Segment& segment : space.inner) {
    if (segment.id != Trie::kNone) {
      const bool empty = segment.begin == segment.end;
      add_token(segment.id,
                to.tracked && !empty ? CharRange{whole.origins[segment.begin].first,
                                                 whole.origins[segment.end - 1].second}
                                     : CharRange{},
                to);
      continue;
    }
    NormalizedText& part = space.part.normalized;
    part.clear();
    part.tracked = whole.tracked;
    part.text.assign(whole.text, segment.begin, segment.end - segment.begin);
    if (whole.tracked) {
      part.origins.assign(whole.origins.begin() + segment.begin,
                          whole.origins.begin() + segment.end);
    }
    part.at_start = whole.at_start && segment.begin == 0;
    tokenize_part(state, space.part, to);
  }
}

// What a byte-level post-processor does to offsets: white space at a token's ends is not its own.
void trim_offsets(const Tokenizer::State& state, TokenList& tokens) {
  const auto is_space = [](std::uint32_t c) {
    return c == 0x120 /* "Ġ", the space's character */ || is_white_space(c);
  };
  for (std::size_t i = 0; i < tokens.offsets.size(); ++i) {
    const auto token = state.id_to_token(tokens.ids[i]);
    if (!token) continue;
    std::uint32_t leading = 0, trailing = 0;
    bool inside = false;
    for (std::size_t at = 0; at < token->size();) {
      const DecodedChar c = decode_utf8(token->data() + at);
      at += c.length;
      trailing = is_space(c.code_point) ? trailing + 1 : 0;
      inside = inside || !is_space(c.code_point);
      leading += !inside;
    }
    auto& [begin, end] = tokens.offsets[i];
    if (leading > 0) {
      // The space that the pre-tokenizer put in front has no place in the text.
      if ((i == 0 || begin == 0) && state.post_processor.added_prefix_space()) --leading;
      begin = std::min(begin + leading, end);
    }
    if (trailing > 0 && end >= trailing) end = std::max(end - trailing, begin);
  }
}

void tokenize(const Tokenizer::State& state, std::string_view text, Scratch& space, bool tracked,
              TokenList& to) {
  check_text(text);
  to.clear();
  to.tracked = tracked;
  space.text.normalized.tracked = tracked;
  state.added_tokens.split_raw(text, space.segments);
  std::uint32_t first_char = 0;  // of the segment
  for (const Segment& segment : space.segments) {
    const std::string_view raw = text.substr(segment.begin, segment.end - segment.begin);
    const auto next_char = tracked ? first_char + static_cast<std::uint32_t>(count_chars(raw)) : 0;
    if (segment.id != Trie::kNone) {
      add_token(segment.id, {first_char, next_char}, to);
    } else {
      space.text.normalized.at_start = segment.begin == 0;
      state.normalizer->normalize(raw, first_char, space.text.normalized);
      if (state.added_tokens.any_normalized()) {
        tokenize_around_added(state, space, to);
      } else {
        tokenize_part(state, space.text, to);
      }
    }
    first_char = next_char;
  }
  if (tracked && state.post_processor.trims_offsets()) trim_offsets(state, to);
}

template <class Text>
std::vector<Encoding> encode_all(const Tokenizer& tokenizer, std::span<const Text> texts,
                                 const EncodeOptions& options, std::size_t threads) {
  std::vector<Encoding> encodings(texts.size());
  if (threads == 0) threads = std::max(1u, std::thread::hardware_concurrency());
  threads = std::min(threads, texts.size());
  std::atomic<std::size_t> next{0};
  std::mutex mutex;
  std::exception_ptr problem;
  const auto work = [&] {
    try {
      for (std::size_t i = next++; i < texts.size(); i = next++) {
        encodings[i] = tokenizer.encode(texts[i], options);
      }
    } catch (...) {
      next = texts.size();
      const std::scoped_lock lock(mutex);
      if (!problem) problem = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> helpers;
    for (std::size_t i = 1; i < threads; ++i) helpers.emplace_back(work);
    work();
  }
  if (problem) std::rethrow_exception(problem);
  return encodings;
}

}  // namespace

Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  Scratch& space = scratch();
  tokenize(*state_, text, space, options.return_offsets, space.first);
  Encoding encoding = state_->post_processor.assemble(space.first, nullptr, options);
  space.trim();
  return encoding;
}

Encoding Tokenizer::encode(std::string_view text, std::string_view pair,
                           const EncodeOptions& options) const {
  Scratch& space = scratch();
  tokenize(*state_, text, space, options.return_offsets, space.first);
  tokenize(*state_, pair, space, options.return_offsets, space.second);
  Encoding encoding = state_->post_processor.assemble(space.first, &space.second, options);
  space.trim();
  return encoding;
}

std::vector<Encoding> Tokenizer::encode_batch(std::span<const std::string_view> texts,
                                              const EncodeOptions& options,
                                              std::size_t threads) const {
  return encode_all(*this, texts, options, threads);
}

std::vector<Encoding> Tokenizer::encode_batch(std::span<const std::string> texts,
                                              const EncodeOptions& options,
                                              std::size_t threads) const {
  return encode_all(*this, texts, options, threads);
}

PaddedBatch Tokenizer::pad(std::span<const Encoding> rows, const PadOptions& options) const {
  PaddedBatch batch;
  batch.rows = rows.size();
  batch.columns = options.length;
  for (const Encoding& row : rows) batch.columns = std::max(batch.columns, row.size());
  const std::size_t multiple = std::max<std::size_t>(options.multiple_of, 1);
  batch.columns = (batch.columns + multiple - 1) / multiple * multiple;
  const std::size_t n = batch.rows * batch.columns;
  batch.ids.assign(n, pad_token_id().value_or(0));
  batch.type_ids.assign(n, 0);
  batch.attention_mask.assign(n, 0);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t empty = batch.columns - rows[i].size();
    const auto at =
        static_cast<std::ptrdiff_t>(i * batch.columns + (options.side == Side::left ? empty : 0));
    std::ranges::copy(rows[i].ids, batch.ids.begin() + at);
    std::ranges::copy(rows[i].type_ids, batch.type_ids.begin() + at);
    std::ranges::copy(rows[i].attention_mask, batch.attention_mask.begin() + at);
  }
  return batch;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids, bool skip_special_tokens) const {
  TokenStrings tokens;
  tokens.reserve(ids.size());
  std::size_t room = kMaxDecodedBytes;
  for (const std::int32_t id : ids) {
    if (skip_special_tokens && is_special(id)) continue;
    const auto token = state_->id_to_token(id);
    if (!token) continue;
    if (token->size() > room) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{} ids decode to more than {} bytes of text; decode fewer at once",
                              ids.size(), kMaxDecodedBytes));
    }
    room -= token->size();
    tokens.emplace_back(*token);
  }
  state_->decoder->decode(tokens);
  std::string text;
  for (const std::string& token : tokens) text += token;
  return text;
}

std::string StreamDecoder::push(std::int32_t id) {
  ids_.push_back(id);
  std::string text = tokenizer_.decode(ids_, skip_special_tokens_);
  // Bytes that may still become a character show as U+FFFD at the end. So do characters that are
  // U+FFFD, any number of them, and bytes that never become one: these are not waited for without
  // end, and then the last three, which a fourth byte could still change, are held back alone.
  constexpr std::string_view kUnknown = "\xef\xbf\xbd";
  constexpr std::size_t kMaxWaiting = 64;
  std::size_t end = text.size();
  if (text.ends_with(kUnknown)) {
    if (ids_.size() - n_shown_ < kMaxWaiting) return {};
    for (int i = 0; i < 3 && std::string_view(text).substr(0, end).ends_with(kUnknown); ++i)
      end -= kUnknown.size();
  }
  if (end <= shown_.size()) return {};
  std::string fresh = text.substr(shown_.size(), end - shown_.size());
  ids_.erase(ids_.begin(), ids_.begin() + static_cast<std::ptrdiff_t>(n_shown_));
  n_shown_ = ids_.size();
  shown_ = tokenizer_.decode(ids_, skip_special_tokens_);
  shown_.resize(shown_.size() - std::min(shown_.size(), text.size() - end));
  return fresh;
}

std::string StreamDecoder::finish() {
  const std::string text = tokenizer_.decode(ids_, skip_special_tokens_);
  std::string fresh = text.size() > shown_.size() ? text.substr(shown_.size()) : std::string();
  ids_.clear();
  shown_.clear();
  n_shown_ = 0;
  return fresh;
}

std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  return state_->token_to_id(token);
}

std::optional<std::string> Tokenizer::id_to_token(std::int32_t id) const {
  const auto token = state_->id_to_token(id);
  return token ? std::optional<std::string>(*token) : std::nullopt;
}

std::vector<std::string> Tokenizer::tokens(const Encoding& encoding) const {
  std::vector<std::string> tokens;
  for (const std::int32_t id : encoding.ids) tokens.push_back(id_to_token(id).value_or(""));
  return tokens;
}

bool Tokenizer::is_special(std::int32_t id) const {
  const AddedToken* token = state_->added_tokens.find(id);
  // One whose text the normalizer changes is not recognised as special; `tokenizers` keeps it, too.
  return token != nullptr && token->special && token->shown == token->content;
}

std::size_t Tokenizer::vocab_size() const { return state_->vocab_size; }
std::optional<std::int32_t> Tokenizer::cls_token_id() const { return state_->roles.cls; }
std::optional<std::int32_t> Tokenizer::sep_token_id() const { return state_->roles.sep; }
std::optional<std::int32_t> Tokenizer::pad_token_id() const { return state_->roles.pad; }
std::optional<std::int32_t> Tokenizer::mask_token_id() const { return state_->roles.mask; }
std::optional<std::int32_t> Tokenizer::unk_token_id() const { return state_->roles.unk; }
std::optional<std::int32_t> Tokenizer::bos_token_id() const { return state_->roles.bos; }
std::optional<std::int32_t> Tokenizer::eos_token_id() const { return state_->roles.eos; }
std::optional<std::size_t> Tokenizer::model_max_length() const { return state_->model_max_length; }

std::size_t Tokenizer::n_special_tokens(bool pair) const {
  return state_->post_processor.n_special_tokens(pair);
}

}  // namespace gpumcp::gpu_runtime
