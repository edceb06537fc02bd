#pragma once

// Tokens that are cut out of the text before the model sees it: "[MASK]", "<|im_end|>". Those that
// are not `normalized` are looked for in the raw text, the others in the normalized one; always the
// longest at the leftmost place. Immutable after loading, so any thread may search.
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer_model.h"
#include "gpu_runtime/tokenizer_normalizer.h"
#include "gpu_runtime/trie.h"

namespace gpumcp::gpu_runtime {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  std::string
      shown;  // what the id decodes to: normalized where the token is, as `tokenizers` has it
  bool single_word = false;  // only between characters that are no word's
  bool lstrip = false;       // takes the white space before it along
  bool rstrip = false;       // and after it
  bool normalized = false;
  bool special = false;
};

// A stretch of the text that is one added token (id), or none (kNone): bytes [begin, end).
struct Segment {
  std::int32_t id;
  std::uint32_t begin, end;
};

class AddedTokens {
 public:
  // tokenizer.json's "added_tokens". The model and normalizer are used here only.
  AddedTokens(const Json& json, const TokenModel& model, const Normalizer& normalizer,
              const std::string& origin);

  // Cuts text into segments, in order and without gaps; `segments` is cleared first.
  void split_raw(std::string_view text, std::vector<Segment>& segments) const;
  void split_normalized(std::string_view text, std::vector<Segment>& segments) const;
  bool any_normalized() const { return !normalized_.empty; }

  const AddedToken* find(std::string_view content) const;
  const AddedToken* find(std::int32_t id) const;
  const std::vector<AddedToken>& all() const { return tokens_; }

 private:
  // What is looked for in one kind of text; a trie value is an index in tokens_.
  struct Matcher {
    Trie trie;
    std::array<bool, 256> first_bytes{};
    bool empty = true;
  };

  void split(const Matcher& matcher, std::string_view text, std::vector<Segment>& segments) const;

  std::vector<AddedToken> tokens_;
  std::map<std::string, std::size_t, std::less<>> by_content_;
  std::unordered_map<std::int32_t, std::size_t> by_id_;
  Matcher raw_, normalized_;
};

}  // namespace gpumcp::gpu_runtime
