#include "gpu_runtime/sentence_transformer.h"

#include <c10/core/InferenceMode.h>
#include <utf8proc.h>

#include <algorithm>

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

// A text that is too long, as windows of `limit` tokens at most, each with the special tokens and
// the prompt that the text begins with. It is cut where tokens begin.
std::vector<Encoding> windows_of(const Tokenizer& tokenizer, const std::string& text,
                                 const std::string& prompt, std::size_t limit) {
  const std::string_view body = std::string_view(text).substr(prompt.size());
  const EncodeOptions bare{.add_special_tokens = false, .return_offsets = true};
  const std::size_t around =
      tokenizer.n_special_tokens() + tokenizer.encode(prompt, bare).ids.size();
  const std::size_t room = limit > around ? limit - around : 1;
  const Encoding whole = tokenizer.encode(body, bare);
  std::vector<std::string> pieces;
  std::size_t at = 0, character = 0;  // bytes and characters of the body
  for (std::size_t token = 0; token < whole.size(); token += room) {
    const std::size_t next = token + room;
    const std::size_t end = next < whole.size()
                                ? std::max<std::size_t>(whole.offsets[next].first, character)
                                : std::size_t(-1);
    const std::size_t begin = at;
    while (at < body.size() && character < end) {
      ++at;
      while (at < body.size() && (static_cast<unsigned char>(body[at]) & 0xc0) == 0x80) ++at;
      ++character;
    }
    if (at > begin) pieces.push_back(prompt + std::string(body.substr(begin, at - begin)));
  }
  return tokenizer.encode_batch(std::span<const std::string>(pieces), {.max_length = limit});
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

std::int64_t SentenceTransformer::dims() const {
  const SentenceTransformerConfig& sentences = sentence_config();
  if (!sentences.dense.empty()) return sentences.dense.back().out_features;
  return sentences.word_embedding_dimension.value_or(
             config().get_int("hidden_size", 0, std::int64_t{1} << 40, 0)) *
         static_cast<std::int64_t>(sentences.pooling.size());
}

SentenceEmbeddings SentenceTransformer::encode(const std::string& text,
                                               const SentenceEncodeOptions& options) const {
  return encode(std::span(&text, 1), options);
}

SentenceEmbeddings SentenceTransformer::encode(std::span<const std::string> texts,
                                               const SentenceEncodeOptions& options) const {
  if (texts.empty()) return {.vectors = at::empty({0, 0})};
  const SentenceTransformerConfig& config = sentence_config();
  std::string prompt = find_prompt(config, options);
  if (!prompt.empty() && !config.include_prompt) {
    throw Error(ErrorCode::unsupported,
                "this model leaves prompts out of its pooling, which is not supported");
  }
  std::vector<std::string> changed;  // most models need neither a prompt nor lower case here
  if (!prompt.empty() || config.do_lower_case) {
    if (config.do_lower_case) prompt = lower_cased(prompt);
    for (const std::string& text : texts)
      changed.push_back(prompt + (config.do_lower_case ? lower_cased(text) : text));
    texts = changed;
  }
  const std::optional<std::size_t> limit = max_seq_length();
  const bool whole = options.long_text == LongText::mean;
  const std::vector<Encoding> encodings =
      tokenize(tokenizer(), texts, {.max_length = whole ? std::nullopt : limit});
  SentenceEmbeddings out;
  std::vector<TokenRow> rows;
  std::vector<std::size_t> n_rows;  // of each text: 1, or its windows
  rows.reserve(encodings.size());
  bool windows = false;
  for (std::size_t i = 0; i < encodings.size(); ++i) {
    const Encoding& encoding = encodings[i];
    const std::size_t before = rows.size();
    if (whole && limit && encoding.size() > *limit) {
      windows = true;
      for (const Encoding& window : windows_of(tokenizer(), texts[i], prompt, *limit))
        rows.push_back(to_token_row(window));
    } else {
      rows.push_back(to_token_row(encoding));
    }
    n_rows.push_back(rows.size() - before);
    std::int64_t tokens = 0;
    for (std::size_t row = before; row < rows.size(); ++row)
      tokens += static_cast<std::int64_t>(rows[row].ids.size());
    out.tokens.push_back(tokens);
    out.tokens_before.push_back(static_cast<std::int64_t>(encoding.n_tokens_before_truncation));
    out.truncated.push_back(encoding.truncated);
  }
  std::vector<std::size_t> lengths;  // the weights of windows
  if (windows) {
    for (const TokenRow& row : rows) lengths.push_back(row.ids.size());
  }
  // What is cut or averaged is normalised after that, not before.
  const bool later = windows || options.dims > 0;
  ModelResult result = model_->run(std::move(rows), {.pooled = true, .raw = options.raw || later});
  c10::InferenceMode inference;
  std::vector<at::Tensor> vectors;
  vectors.reserve(n_rows.size());
  for (std::size_t i = 0, row = 0; i < n_rows.size(); ++i) {
    at::Tensor vector = std::move(result.rows[row].pooled);
    if (n_rows[i] > 1) {
      double sum = static_cast<double>(lengths[row]);
      vector = vector * sum;
      for (std::size_t k = 1; k < n_rows[i]; ++k) {
        const auto weight = static_cast<double>(lengths[row + k]);
        vector.add_(result.rows[row + k].pooled, weight);
        sum += weight;
      }
      vector.div_(sum);
    }
    row += n_rows[i];
    vectors.push_back(std::move(vector));
  }
  out.vectors = vectors.size() == 1 ? vectors[0].unsqueeze(0) : at::stack(vectors);
  if (options.dims > 0) {
    if (options.dims > out.vectors.size(1)) {
      throw Error(ErrorCode::invalid_argument,
                  "dims " + std::to_string(options.dims) + ": the model's vectors have " +
                      std::to_string(out.vectors.size(1)) + " values; ask for at most that");
    }
    out.vectors = out.vectors.slice(1, 0, options.dims).contiguous();
  }
  if (later && config.normalize && !options.raw)
    out.vectors = out.vectors / out.vectors.norm(2, 1, true).clamp_min(1e-12);
  return out;
}

}  // namespace gpumcp::gpu_runtime
