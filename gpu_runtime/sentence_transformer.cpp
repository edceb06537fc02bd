#include "gpu_runtime/sentence_transformer.h"

#include <c10/core/InferenceMode.h>
#include <utf8proc.h>

#include "gpu_runtime/auto_tokenizer.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/runtime.h"

namespace gpumcp::gpu_runtime {
namespace {

// Invalid UTF-8 is left as it is: the tokenizer refuses it and names the byte.
std::string lower_cased(const std::string& text) {
  std::string lower;
  lower.reserve(text.size());
  const auto* at = reinterpret_cast<const utf8proc_uint8_t*>(text.data());
  auto left = static_cast<utf8proc_ssize_t>(text.size());
  while (left > 0) {
    utf8proc_int32_t point = 0;
    const utf8proc_ssize_t read = utf8proc_iterate(at, left, &point);
    if (read <= 0) return text;
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t wrote = utf8proc_encode_char(utf8proc_tolower(point), bytes);
    lower.append(reinterpret_cast<const char*>(bytes), static_cast<std::size_t>(wrote));
    at += read;
    left -= read;
  }
  return lower;
}

std::string find_prompt(const SentenceTransformerConfig& config,
                        const SentenceEncodeOptions& options) {
  const auto& name = options.prompt_name ? options.prompt_name : config.default_prompt_name;
  if (!name) return "";
  auto found = config.prompts.find(*name);
  if (found != config.prompts.end()) return found->second;
  std::string known;
  for (const auto& [key, prompt] : config.prompts) known += (known.empty() ? "" : ", ") + key;
  throw Error(ErrorCode::invalid_argument,
              "the model has no prompt named \"" + name->substr(0, 60) +
                  "\" (it has: " + (known.empty() ? "none" : known) + ")");
}

}  // namespace

SentenceTransformer SentenceTransformer::from_pretrained(const ModelPath& path,
                                                         const ModelOptions& options,
                                                         Runtime* runtime) {
  return SentenceTransformer(
      (runtime != nullptr ? *runtime : Runtime::current()).model(path, options));
}

std::optional<std::size_t> SentenceTransformer::max_seq_length() const {
  const std::optional<std::size_t> model = model_max_length(*model_);
  const auto& own = sentence_config().max_seq_length;
  if (!own) return model;
  const auto wanted = static_cast<std::size_t>(*own);
  return model && model_->config().has("max_position_embeddings")
             ? std::min(wanted, static_cast<std::size_t>(model_->config().get_int(
                                    "max_position_embeddings", 1, std::int64_t{1} << 40)))
             : wanted;
}

SentenceEmbeddings SentenceTransformer::encode(const std::string& text,
                                               const SentenceEncodeOptions& options) const {
  return encode(std::span(&text, 1), options);
}

SentenceEmbeddings SentenceTransformer::encode(std::span<const std::string> texts,
                                               const SentenceEncodeOptions& options) const {
  if (texts.empty()) return {.vectors = at::empty({0, 0})};
  const SentenceTransformerConfig& config = sentence_config();
  const std::string prompt = find_prompt(config, options);
  if (!prompt.empty() && !config.include_prompt) {
    throw Error(ErrorCode::unsupported,
                "this model leaves prompts out of its pooling, which is not supported");
  }
  std::vector<std::string> changed;  // most models need neither a prompt nor lower case here
  if (!prompt.empty() || config.do_lower_case) {
    for (const std::string& text : texts) {
      changed.push_back(prompt + text);
      if (config.do_lower_case) changed.back() = lower_cased(changed.back());
    }
    texts = changed;
  }
  const std::vector<Encoding> encodings =
      tokenize(tokenizer(), texts, {.max_length = max_seq_length()});
  SentenceEmbeddings out;
  std::vector<TokenRow> rows;
  rows.reserve(encodings.size());
  for (const Encoding& encoding : encodings) {
    rows.push_back(to_token_row(encoding));
    out.tokens.push_back(static_cast<std::int64_t>(encoding.size()));
    out.tokens_before.push_back(static_cast<std::int64_t>(encoding.n_tokens_before_truncation));
    out.truncated.push_back(encoding.truncated);
  }
  ModelResult result = model_->run(std::move(rows), {.pooled = true, .raw = options.raw});
  c10::InferenceMode inference;
  std::vector<at::Tensor> vectors;
  vectors.reserve(result.rows.size());
  for (RowResult& row : result.rows) vectors.push_back(std::move(row.pooled));
  out.vectors = vectors.size() == 1 ? vectors[0].unsqueeze(0) : at::stack(vectors);
  return out;
}

}  // namespace gpumcp::gpu_runtime
