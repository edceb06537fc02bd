#pragma once

// What a Tokenizer's copies share: the stages, and the tokens by role. Immutable after loading.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "gpu_runtime/json.h"
#include "gpu_runtime/tokenizer.h"
#include "gpu_runtime/tokenizer_added_tokens.h"
#include "gpu_runtime/tokenizer_decoder.h"
#include "gpu_runtime/tokenizer_model.h"
#include "gpu_runtime/tokenizer_normalizer.h"
#include "gpu_runtime/tokenizer_post_processor.h"
#include "gpu_runtime/tokenizer_pre_tokenizer.h"

namespace gpumcp::gpu_runtime {

struct TokenRoles {
  std::optional<std::int32_t> cls, sep, pad, mask, unk, bos, eos;
};

struct Tokenizer::State {
  // json: a tokenizer.json, parsed.
  State(const Json& json, const std::string& origin);

  std::unique_ptr<const Normalizer> normalizer;
  std::unique_ptr<const PreTokenizer> pre_tokenizer;
  std::unique_ptr<const TokenModel> model;
  std::unique_ptr<const TokenDecoder> decoder;
  AddedTokens added_tokens;
  PostProcessor post_processor;
  TokenRoles roles;
  std::size_t vocab_size = 0;  // added tokens included
  std::optional<std::size_t> model_max_length;

  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  std::optional<std::string_view> id_to_token(std::int32_t id) const;
};

}  // namespace gpumcp::gpu_runtime
