#pragma once

// What a Hugging Face folder says about its model: config.json with typed, range-checked getters,
// and the sentence-transformers files beside it (modules.json and what it names). Values, immutable
// after loading. All of it is hostile input: every number that becomes a size goes through
// get_int's range.
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/dtype.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/json.h"

namespace gpumcp::gpu_runtime {

class GPUMCP_RUNTIME_API ModelConfig {
 public:
  // Reads folder/config.json. Error(not_found) tells a missing folder from a half downloaded one.
  static ModelConfig from_pretrained(const std::filesystem::path& folder);
  // For tests and nested configs ("text_config"); origin names it in messages.
  static ModelConfig from_json(Json json, std::string origin);

  const Json& json() const { return json_; }
  const std::string& origin() const { return origin_; }
  const std::string& model_type() const { return model_type_; }  // "bert"; "" when absent
  std::vector<std::string> architectures() const;
  Dtype dtype() const;  // "dtype" or the older "torch_dtype"; f32 when absent

  bool has(std::string_view key) const;  // present and not null

  // The value, or Error(corrupt_checkpoint) naming file, key, what came and what was expected. The
  // forms with a fallback take absent and null for the fallback; a wrong type is refused all the
  // same.
  std::int64_t get_int(std::string_view key, std::int64_t min, std::int64_t max) const;
  std::int64_t get_int(std::string_view key, std::int64_t min, std::int64_t max,
                       std::int64_t fallback) const;
  double get_number(std::string_view key, double min, double max) const;
  double get_number(std::string_view key, double min, double max, double fallback) const;
  bool get_bool(std::string_view key, bool fallback) const;
  std::string get_string(std::string_view key) const;
  std::string get_string(std::string_view key, std::string fallback) const;
  ModelConfig get_object(std::string_view key) const;

 private:
  const Json& at(std::string_view key) const;
  const Json* find(std::string_view key) const;

  Json json_;
  std::string origin_, model_type_;
};

enum class PoolingMode { cls, max, mean, mean_sqrt_len, weighted_mean, last_token };
GPUMCP_RUNTIME_API std::string_view to_string(PoolingMode mode);

// A linear layer behind the pooling; its weights lie in `folder`.
struct DenseModule {
  std::filesystem::path folder;
  std::int64_t in_features = 0, out_features = 0;
  bool bias = true;
  std::string activation;  // the last part of the class name: "Tanh", "Identity"
};

struct GPUMCP_RUNTIME_API SentenceTransformerConfig {
  bool has_modules =
      false;  // false: a plain transformer; sentence-transformers pools the mean then
  std::filesystem::path transformer_folder;
  std::optional<std::int64_t> max_seq_length;  // absent: the tokenizer's and the model's own limits
  bool do_lower_case = false;                  // lower-case the text before the tokenizer
  std::vector<PoolingMode> pooling{PoolingMode::mean};  // several: concatenated in this order
  std::optional<std::int64_t> word_embedding_dimension;
  bool include_prompt = true;      // false: the prompt's tokens are left out of the pooling
  std::vector<DenseModule> dense;  // between pooling and normalisation
  bool normalize = false;
  std::map<std::string, std::string> prompts;  // name -> text put before each input
  std::optional<std::string> default_prompt_name;
  std::string similarity = "cosine";

  // Reads what is there. A module that is not one of Transformer, Pooling, Dense, Normalize is
  // Error(unsupported), named: leaving it out would give wrong vectors.
  static SentenceTransformerConfig from_pretrained(const std::filesystem::path& folder);
};

}  // namespace gpumcp::gpu_runtime
