#include "gpu_runtime/auto_tokenizer.h"

#include <algorithm>
#include <iterator>

#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/device.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/runtime.h"

namespace gpumcp::gpu_runtime {
namespace {

// From here on other threads help; below, starting them costs more than they save.
constexpr std::size_t kManyTexts = 256;

// Between two looks at whether the call is still wanted.
constexpr std::size_t kTextsAtOnce = 64;
constexpr std::size_t kTextsAtOnceOnThreads = 1024;

// Error(cancelled, deadline) where the thread's call is no longer wanted.
void check_wanted(const CallLimits& limits) {
  if (limits.stop.stop_requested()) throw Error(ErrorCode::cancelled, "the call was cancelled");
  if (limits.deadline && *limits.deadline <= std::chrono::steady_clock::now())
    throw Error(ErrorCode::deadline, "the call's deadline has passed");
}

// encode(first, count) for all texts, a part after the other, while the call is wanted; and the
// note of what it took.
template <class Encode>
std::vector<Encoding> metered(std::size_t count, std::size_t at_once, Encode&& encode) {
  const auto began = std::chrono::steady_clock::now();
  const CallLimits limits = CallScope::current_limits();
  std::vector<Encoding> rows;
  for (std::size_t first = 0; first < count; first += at_once) {
    check_wanted(limits);
    std::vector<Encoding> part = encode(first, std::min(at_once, count - first));
    if (first == 0 && part.size() == count) {
      rows = std::move(part);
    } else {
      rows.reserve(count);
      std::ranges::move(part, std::back_inserter(rows));
    }
  }
  if (CallScope* scope = CallScope::current()) {
    Usage& usage = scope->usage();
    usage.tokenize_ms +=
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - began).count();
    usage.truncated +=
        std::count_if(rows.begin(), rows.end(), [](const Encoding& row) { return row.truncated; });
  }
  return rows;
}

// Model families whose first positions stand unused, behind the padding's.
bool skips_padding(const std::string& model_type) {
  return model_type == "roberta" || model_type == "xlm-roberta" || model_type == "mpnet";
}

}  // namespace

TokenRow to_token_row(const Encoding& encoding) { return {encoding.ids, encoding.type_ids}; }

std::vector<TokenRow> BatchEncoding::token_rows() const {
  std::vector<TokenRow> rows;
  rows.reserve(rows_.size());
  for (const Encoding& row : rows_) rows.push_back(to_token_row(row));
  return rows;
}

std::vector<Encoding> tokenize(const Tokenizer& tokenizer, std::span<const std::string> texts,
                               const EncodeOptions& options) {
  const bool many = texts.size() >= kManyTexts;
  const std::size_t threads = many ? static_cast<std::size_t>(physical_cores()) : 1;
  return metered(texts.size(), many ? kTextsAtOnceOnThreads : kTextsAtOnce,
                 [&](std::size_t first, std::size_t count) {
                   return tokenizer.encode_batch(texts.subspan(first, count), options, threads);
                 });
}

std::vector<Encoding> tokenize_pairs(const Tokenizer& tokenizer, const std::string& first,
                                     std::span<const std::string> texts,
                                     const EncodeOptions& options) {
  return metered(texts.size(), 1, [&](std::size_t at, std::size_t) {
    return std::vector<Encoding>{tokenizer.encode(first, texts[at], options)};
  });
}

std::optional<std::size_t> model_max_length(ResidentModel& model) {
  std::optional<std::size_t> limit = model.tokenizer().model_max_length();
  if (model.config().has("max_position_embeddings")) {
    std::int64_t positions =
        model.config().get_int("max_position_embeddings", 1, std::int64_t{1} << 40);
    if (skips_padding(model.config().model_type()))
      positions = std::max<std::int64_t>(
          1, positions - model.config().get_int("pad_token_id", 0, positions, 1) - 1);
    limit = std::min(limit.value_or(std::size_t(-1)), static_cast<std::size_t>(positions));
  }
  return limit;
}

AutoTokenizer AutoTokenizer::from_pretrained(const ModelPath& path, Runtime* runtime) {
  return AutoTokenizer((runtime != nullptr ? *runtime : Runtime::current()).model(path));
}

std::optional<std::size_t> AutoTokenizer::max_length() const { return model_max_length(*model_); }

BatchEncoding AutoTokenizer::operator()(const std::string& text,
                                        const EncodeOptions& options) const {
  return (*this)(std::span(&text, 1), options);
}

BatchEncoding AutoTokenizer::operator()(std::span<const std::string> texts,
                                        const EncodeOptions& options) const {
  EncodeOptions cut = options;
  if (!cut.max_length) cut.max_length = max_length();
  return BatchEncoding(tokenize(model_->tokenizer(), texts, cut));
}

std::string AutoTokenizer::decode(std::span<const std::int32_t> ids,
                                  bool skip_special_tokens) const {
  return model_->tokenizer().decode(ids, skip_special_tokens);
}

}  // namespace gpumcp::gpu_runtime
