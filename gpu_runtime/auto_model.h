#pragma once

// AutoModel: a handle on a model folder, as in transformers. from_pretrained() touches nothing; the
// weights load at the first call and leave when they idle. Handles on one folder share one loaded
// model, and calls from any number of threads join its batches. Thread-safe; copying copies the
// handle.
#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "gpu_runtime/auto_tokenizer.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/generation/generate.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/model_store.h"
#include "gpu_runtime/resident_model.h"

namespace gpumcp::gpu_runtime {

// config.json: the fields that interfaces ask for by name, whatever the family calls them, and all
// of it as JSON. 0: it does not say.
struct GPUMCP_RUNTIME_API AutoConfig {
  std::string model_type;
  std::int64_t num_hidden_layers = 0, hidden_size = 0, vocab_size = 0;
  std::int64_t num_attention_heads = 0, num_key_value_heads = 0, head_dim = 0,
               intermediate_size = 0;
  Json json;
  const Json& operator[](const std::string& key) const;  // Error(not_found) names the key
};

struct ModelCallOptions {
  bool output_hidden_states = false;
};

// [texts, tokens, d] on the model's device; rows of unequal length are filled up with zeros behind.
// hidden_states: the embeddings, then each layer's output; the last of them is last_hidden_state.
struct ModelOutputs {
  at::Tensor last_hidden_state;
  std::vector<at::Tensor> hidden_states;
};

class GPUMCP_RUNTIME_API AutoModel {
 public:
  static AutoModel from_pretrained(const ModelPath& path, const ModelOptions& options = {},
                                   Runtime* runtime = nullptr);

  // Waits for the batch that the rows ride in. Throws Error.
  ModelOutputs operator()(const BatchEncoding& inputs, const ModelCallOptions& options = {}) const;
  ModelOutputs operator()(std::vector<TokenRow> rows, const ModelCallOptions& options = {}) const;

  AutoConfig config() const;  // reads config.json, no weights
  c10::Device device() const { return model_->device(); }
  const ModelPath& path() const { return model_->path(); }

 private:
  explicit AutoModel(std::shared_ptr<ResidentModel> model) : model_(std::move(model)) {}
  std::shared_ptr<ResidentModel> model_;
};

// [texts, tokens, vocab_size] in float32: behind each token, a score of every next one.
struct CausalLMOutputs {
  at::Tensor logits;
  std::vector<at::Tensor> hidden_states;  // as ModelOutputs has them
};

// Whether the folder holds a model for text: of an architecture that predicts it, and not made into
// one for vectors (modules.json). Reads the small files; Error for one that cannot be read.
GPUMCP_RUNTIME_API bool is_language_model(const ModelPath& path);

// A language model's handle: AutoModel with the head that predicts the next token.
//   auto text = model.generate("Once upon a time", {.max_new_tokens = 50}).text;
class GPUMCP_RUNTIME_API AutoModelForCausalLM {
 public:
  static AutoModelForCausalLM from_pretrained(const ModelPath& path,
                                              const ModelOptions& options = {},
                                              Runtime* runtime = nullptr);

  // Error(unsupported) for a model that has no such head.
  CausalLMOutputs operator()(const BatchEncoding& inputs,
                             const ModelCallOptions& options = {}) const;
  CausalLMOutputs operator()(std::vector<TokenRow> rows,
                             const ModelCallOptions& options = {}) const;

  // What the rows' taps read (taps.h), row by row: RowResult::captures. Rows that ask for nothing
  // beyond a layer pay for none beyond it.
  std::vector<std::vector<at::Tensor>> capture(std::vector<TokenRow> rows) const;

  // Continues a text as it stands (special tokens as the tokenizer adds them), or texts that were
  // tokenized; one result a text. Calls of all threads share the model's steps. on_text gets each
  // piece of text on this thread as soon as it is certain. Throws Error (see
  // generation/generation_queue.h), and what on_text throws.
  Generation generate(const std::string& prompt, const GenerationOptions& options = {},
                      const OnText& on_text = nullptr) const;
  std::vector<Generation> generate(const BatchEncoding& inputs,
                                   const GenerationOptions& options = {},
                                   const OnText& on_text = nullptr) const;

  // The likeliest next tokens behind a text with their probabilities, the likeliest first.
  std::vector<std::pair<std::int32_t, double>> next_tokens(TokenRow row, std::int64_t count) const;
  // log p of each token but the first, given those before it (natural logarithm).
  std::vector<float> token_log_probabilities(TokenRow row) const;

  // What the folder's generation_config.json says.
  GenerationConfig generation_config() const { return model_->generation_config(); }
  AutoConfig config() const;
  c10::Device device() const { return model_->device(); }
  // What its weights are, or will be when they are loaded: "float32".
  std::string dtype() const { return model_->used_dtype(); }
  const ModelPath& path() const { return model_->path(); }

 private:
  explicit AutoModelForCausalLM(std::shared_ptr<ResidentModel> model) : model_(std::move(model)) {}
  std::shared_ptr<ResidentModel> model_;
};

}  // namespace gpumcp::gpu_runtime
