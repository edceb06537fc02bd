#pragma once

// SentenceTransformer: texts to vectors, with the prompts, the length limit, the pooling and the
// normalisation that the model's own files ask for. A handle like AutoModel: nothing is read before
// the first call, handles on one folder share the weights, and only the vectors leave the owner
// thread. Thread-safe.
#include <ATen/core/Tensor.h>

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "gpu_runtime/export.h"
#include "gpu_runtime/model_store.h"
#include "gpu_runtime/resident_model.h"

namespace gpumcp::gpu_runtime {

// What becomes of a text that has more tokens than the model reads.
enum class LongText {
  truncate,  // its end does not count, as in sentence-transformers
  mean       // windows of that many tokens, end to end, averaged by their tokens
};

struct SentenceEncodeOptions {
  bool raw = false;  // without the model's own normalisation
  std::optional<std::string>
      prompt_name;        // one of the model's prompts; absent: its default, if it has one
  std::int64_t dims = 0;  // the first so many values, normalised as the model's are; 0: all
  LongText long_text = LongText::truncate;
};

struct SentenceEmbeddings {
  at::Tensor vectors;                // float32 [texts, dims], host memory
  std::vector<std::int64_t> tokens;  // a text each, special tokens included, after truncation
  std::vector<bool> truncated;
  std::vector<std::int64_t> tokens_before;  // … before truncation
};

class GPUMCP_RUNTIME_API SentenceTransformer {
 public:
  static SentenceTransformer from_pretrained(const ModelPath& path,
                                             const ModelOptions& options = {},
                                             Runtime* runtime = nullptr);

  // Error(invalid_argument) for invalid UTF-8, unknown prompts and too many dims. No texts: an
  // empty [0, 0] tensor.
  SentenceEmbeddings encode(std::span<const std::string> texts,
                            const SentenceEncodeOptions& options = {}) const;
  SentenceEmbeddings encode(const std::string& text,
                            const SentenceEncodeOptions& options = {}) const;

  // Tokens that a text may have: sentence_bert_config.json's, else the tokenizer's and the model's.
  // Reads small files only.
  std::optional<std::size_t> max_seq_length() const;
  std::int64_t dims() const;  // length of a vector; 0: the files do not say. Reads small files only
  const ModelConfig& config() const { return model_->config(); }
  const SentenceTransformerConfig& sentence_config() const { return model_->sentence_config(); }
  const Tokenizer& tokenizer() const { return model_->tokenizer(); }
  c10::Device device() const { return model_->device(); }
  const ModelPath& path() const { return model_->path(); }

 private:
  explicit SentenceTransformer(std::shared_ptr<ResidentModel> model) : model_(std::move(model)) {}
  std::shared_ptr<ResidentModel> model_;
};

}  // namespace gpumcp::gpu_runtime
