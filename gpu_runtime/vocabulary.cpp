#include "gpu_runtime/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>

#include "gpu_runtime/tokenizer_parts.h"

namespace gpumcp::gpu_runtime {

Vocabulary::Vocabulary(const Json& json, const std::string& origin) {
  if (!json.is_object() || json.empty()) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: must be an object of tokens and ids, but is {}", origin,
                            json.empty() ? "empty" : describe_json(json)));
  }
  if (json.size() > static_cast<std::size_t>(kMaxTokenId)) {
    throw Error(ErrorCode::corrupt_checkpoint,
                fmt::format("{}: {} tokens are more than the limit of {}", origin, json.size(),
                            kMaxTokenId));
  }
  tokens_.reserve(json.size());
  std::int32_t max_id = 0;
  for (const auto& [token, id] : json.get_ref<const Json::object_t&>()) {
    tokens_.emplace_back(token, to_token_id(id, origin));
    max_id = std::max(max_id, tokens_.back().second);
  }
  by_id_.assign(static_cast<std::size_t>(max_id) + 1, -1);
  std::vector<std::pair<std::string_view, std::int32_t>> entries;
  entries.reserve(tokens_.size());
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    by_id_[static_cast<std::size_t>(tokens_[i].second)] = static_cast<std::int32_t>(i);
    entries.emplace_back(tokens_[i].first, tokens_[i].second);
  }
  trie_ = Trie(std::move(entries));
}

std::optional<std::int32_t> Vocabulary::find(std::string_view token) const {
  const std::int32_t id = trie_.find(token);
  return id == Trie::kNone ? std::nullopt : std::optional(id);
}

std::optional<std::string_view> Vocabulary::token(std::int32_t id) const {
  const auto index = static_cast<std::size_t>(id);
  if (id < 0 || index >= by_id_.size() || by_id_[index] < 0) return {};
  return tokens_[static_cast<std::size_t>(by_id_[index])].first;
}

}  // namespace gpumcp::gpu_runtime
