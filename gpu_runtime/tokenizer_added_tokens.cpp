#include "gpu_runtime/tokenizer_added_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "gpu_runtime/tokenizer_parts.h"
#include "gpu_runtime/unicode.h"

namespace gpumcp::gpu_runtime {
namespace {

// The character that ends at `end`, which is not 0.
DecodedChar char_before(std::string_view text, std::size_t end) {
  std::size_t begin = end - 1;
  while (is_continuation(text[begin])) --begin;
  return decode_utf8(text.data() + begin);
}

bool ends_in_word(std::string_view text, std::size_t end) {
  return end > 0 && is_word_char(char_before(text, end).code_point);
}

bool begins_with_word(std::string_view text, std::size_t begin) {
  return begin < text.size() && is_word_char(decode_utf8(text.data() + begin).code_point);
}

AddedToken read_token(const Json& json, const std::string& name) {
  const TokenizerPart part(json, name);
  AddedToken token;
  token.id = to_token_id(part.at("id"), name + ": id");
  token.content = part.string("content");
  token.single_word = part.boolean("single_word", false);
  token.lstrip = part.boolean("lstrip", false);
  token.rstrip = part.boolean("rstrip", false);
  token.special = part.boolean("special", false);
  token.normalized = part.boolean("normalized", !token.special);
  return token;
}

}  // namespace

AddedTokens::AddedTokens(const Json& json, const TokenModel& model, const Normalizer& normalizer,
                         const std::string& origin) {
  const std::string name = origin + ": added_tokens";
  if (!json.is_null() && !json.is_array()) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: must be an array, but is {}", name, describe_json(json)));
  }
  for (std::size_t i = 0; i < json.size(); ++i) {
    AddedToken token = read_token(json[i], fmt::format("{}[{}]", name, i));
    if (token.content.empty()) continue;
    const auto known = model.token_to_id(token.content);
    const bool taken = by_id_.contains(token.id) || by_content_.contains(token.content);
    if (taken || (known && *known != token.id)) {
      throw Error(
          ErrorCode::corrupt_checkpoint,
          fmt::format("{}[{}]: {} with id {} contradicts the vocabulary or another added token",
                      name, i, describe_json(Json(token.content)), token.id));
    }
    by_id_.emplace(token.id, tokens_.size());
    by_content_.emplace(token.content, tokens_.size());
    tokens_.push_back(std::move(token));
  }

  std::vector<std::pair<std::string_view, std::int32_t>> raw, normalized;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    AddedToken& token = tokens_[i];
    token.shown = token.content;
    if (token.normalized) {
      NormalizedText text;
      try {
        normalizer.normalize(token.content, 0, text);
      } catch (const Error& error) {
        throw Error(ErrorCode::corrupt_checkpoint,
                    fmt::format("{}: {} cannot be normalized: {}", name,
                                describe_json(Json(token.content)), error.what()));
      }
      token.shown = text.text;
    }
    (token.normalized ? normalized : raw).emplace_back(token.shown, static_cast<std::int32_t>(i));
  }
  for (auto [matcher, entries] : {std::pair{&raw_, &raw}, std::pair{&normalized_, &normalized}}) {
    for (const auto& [content, index] : *entries) {
      if (content.empty()) continue;
      matcher->first_bytes[static_cast<unsigned char>(content.front())] = true;
      matcher->empty = false;
    }
    matcher->trie = Trie(std::move(*entries));
  }
}

void AddedTokens::split_raw(std::string_view text, std::vector<Segment>& segments) const {
  split(raw_, text, segments);
}

void AddedTokens::split_normalized(std::string_view text, std::vector<Segment>& segments) const {
  split(normalized_, text, segments);
}

void AddedTokens::split(const Matcher& matcher, std::string_view text,
                        std::vector<Segment>& segments) const {
  segments.clear();
  const std::size_t size = text.size();
  std::size_t done = 0;  // the text before is in segments
  const auto add = [&](std::int32_t id, std::size_t begin, std::size_t end) {
    segments.push_back({id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)});
  };
  for (std::size_t at = 0; !matcher.empty && at < size;) {
    if (!matcher.first_bytes[static_cast<unsigned char>(text[at])]) {
      ++at;
      continue;
    }
    const Trie::Match match = matcher.trie.longest_prefix(text.data() + at, text.data() + size);
    if (match.value == Trie::kNone) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(match.value)];
    std::size_t begin = at, end = at + match.length;
    at = end;  // the search goes on behind the token, whatever becomes of it
    if (token.single_word && (ends_in_word(text, begin) || begins_with_word(text, end))) continue;
    if (token.lstrip) {
      while (begin > done) {
        const DecodedChar before = char_before(text, begin);
        if (!is_white_space(before.code_point)) break;
        begin -= before.length;
      }
    }
    if (token.rstrip) {
      while (end < size) {
        const DecodedChar after = decode_utf8(text.data() + end);
        if (!is_white_space(after.code_point)) break;
        end += after.length;
      }
    }
    // White space that an rstrip before took along may be a token of its own; it stays taken.
    begin = std::max(begin, done);
    end = std::max(end, begin);
    if (done < begin) add(Trie::kNone, done, begin);
    add(token.id, begin, end);
    done = end;
  }
  if (done < size) add(Trie::kNone, done, size);
}

const AddedToken* AddedTokens::find(std::string_view content) const {
  const auto found = by_content_.find(content);
  return found == by_content_.end() ? nullptr : &tokens_[found->second];
}

const AddedToken* AddedTokens::find(std::int32_t id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : &tokens_[found->second];
}

}  // namespace gpumcp::gpu_runtime
