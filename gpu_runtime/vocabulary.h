#pragma once

// A vocabulary's tokens: strings to ids and back. Owns the strings. Immutable after the
// constructor.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpu_runtime/json.h"
#include "gpu_runtime/trie.h"

namespace gpumcp::gpu_runtime {

class Vocabulary {
 public:
  // From an object {token: id}, as in WordPiece and BPE. Error(corrupt_checkpoint) for ids out of
  // range.
  Vocabulary(const Json& json, const std::string& origin);

  std::optional<std::int32_t> find(std::string_view token) const;
  std::optional<std::string_view> token(std::int32_t id) const;
  std::size_t size() const { return tokens_.size(); }
  const std::vector<std::pair<std::string, std::int32_t>>& tokens() const { return tokens_; }
  const Trie& trie() const { return trie_; }

 private:
  std::vector<std::pair<std::string, std::int32_t>> tokens_;  // sorted by token
  std::vector<std::int32_t> by_id_;                           // index in tokens_, or -1
  Trie trie_;
};

}  // namespace gpumcp::gpu_runtime
