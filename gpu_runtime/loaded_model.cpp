#include "gpu_runtime/loaded_model.h"

#include <algorithm>

#include "gpu_runtime/device.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/models/registry.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {
namespace {

// Tokens that go through the layers together. On a CPU the activations of 2,000 tokens still lie in
// the caches: 16,000 at once ran at half the speed (2 cores, 2 MiB L2, 32 MiB L3; 32 mixed texts
// about 2,000 tokens).
constexpr std::int64_t kCpuChunkTokens = 2048;
constexpr std::int64_t kDeviceChunkTokens = 65536;

// Of a prompt. On a CPU 64 tokens keep a product as busy as 512 do, and others wait the less.
constexpr std::int64_t kCpuPrefillChunk = 64;
constexpr std::int64_t kDevicePrefillChunk = 512;

at::ScalarType choose_dtype(const std::string& wanted, const ModelConfig& config,
                            c10::Device device) {
  if (wanted.empty() || wanted == "auto")
    return device.is_cpu() ? at::kFloat : torch_dtype(config.dtype());
  if (wanted == "float32") return at::kFloat;
  if (wanted == "float16") return at::kHalf;
  if (wanted == "bfloat16") return at::kBFloat16;
  throw Error(ErrorCode::invalid_argument,
              "dtype \"" + wanted + "\" is none: give auto, float32, float16 or bfloat16");
}

const ModelConfig& checked(const ModelConfig& config) {
  check_model_type(config);  // before the weights: an unknown architecture is the better message
  return config;
}

}  // namespace

LoadedModel::LoadedModel(std::filesystem::path folder, c10::Device device, const std::string& dtype)
    : folder_(std::move(folder)),
      device_(device),
      checkpoint_((checked(ModelConfig::from_pretrained(folder_)), Checkpoint::open(folder_))) {
  const ModelConfig config = ModelConfig::from_pretrained(folder_);
  dtype_ = choose_dtype(dtype, config, device);
  transformer_ = load_transformer(config, checkpoint_, dtype_, device);
}

LoadedModel::~LoadedModel() {
  transformer_.reset();
  pooling_.reset();
  try {
    release_cached_memory(device_);
  } catch (...) {  // a device in an error state keeps its memory until the process ends; nothing to
                   // do about it here
  }
}

void LoadedModel::check_ids(std::span<const std::int32_t> ids) const {
  const std::int64_t vocabulary = transformer_->facts().vocab_size;
  if (ids.empty()) {
    throw Error(ErrorCode::invalid_argument, "a text without tokens: a model needs at least one");
  }
  for (std::int32_t id : ids) {
    if (id >= 0 && id < vocabulary) continue;
    throw Error(ErrorCode::invalid_argument, "token id " + std::to_string(id) +
                                                 " is not in the model's vocabulary of " +
                                                 std::to_string(vocabulary));
  }
}

void LoadedModel::check(const TokenRow& row) const {
  const TransformerFacts& facts = transformer_->facts();
  auto refuse = [](const std::string& why) { throw Error(ErrorCode::invalid_argument, why); };
  check_ids(row.ids);
  if (static_cast<std::int64_t>(row.ids.size()) > facts.max_length) {
    refuse("a text of " + std::to_string(row.ids.size()) + " tokens: the model takes at most " +
           std::to_string(facts.max_length) + " (truncate when tokenizing)");
  }
  if (!row.type_ids.empty() && row.type_ids.size() != row.ids.size())
    refuse("token types and ids differ in number");
  for (std::int32_t type : row.type_ids) {
    if (facts.type_vocab_size > 0 && (type < 0 || type >= facts.type_vocab_size)) {
      refuse("token type " + std::to_string(type) + " is beyond the model's " +
             std::to_string(facts.type_vocab_size));
    }
  }
}

const Pooling& LoadedModel::pooling() {
  if (!pooling_) {
    pooling_.emplace(SentenceTransformerConfig::from_pretrained(folder_),
                     transformer_->facts().hidden_size, dtype_, device_);
  }
  return *pooling_;
}

at::Tensor LoadedModel::logits_of(const at::Tensor& hidden) const {
  at::Tensor logits = transformer_->logits(hidden);
  if (!logits.defined()) {
    throw Error(
        ErrorCode::unsupported,
        folder_.string() +
            ": the model predicts no tokens: its architecture or its files have no language "
            "model head (lm_head.weight)");
  }
  return logits;
}

void LoadedModel::require_finite(const at::Tensor& values) {
  // A sum is cheap and is NaN or infinite when a term is; the reverse (an overflow of the sum) is
  // then looked at closely.
  if (std::isfinite(values.sum().item<float>()) || at::isfinite(values).all().item<bool>()) return;
  if (auto weight = find_non_finite_weight(checkpoint_)) {
    throw Error(ErrorCode::corrupt_checkpoint, "the model gives no finite numbers: " + *weight +
                                                   " holds NaN or infinity; get the file again");
  }
  throw Error(ErrorCode::internal,
              "the model gives no finite numbers for this input, though all weights in " +
                  folder_.string() + " are finite: it overflows in " +
                  std::string(to_string(checkpoint_dtype(dtype_))));
}

DecodeModel* LoadedModel::decoder() {
  return transformer_->facts().cache.layers > 0 ? this : nullptr;
}

DecodeFacts LoadedModel::decode_facts() const {
  const TransformerFacts& facts = transformer_->facts();
  return {.max_length = facts.max_length,
          .bytes_per_token =
              facts.cache.elements(1) * static_cast<std::int64_t>(at::elementSize(dtype_)),
          .prefill_chunk = device_.is_cpu() ? kCpuPrefillChunk : kDevicePrefillChunk};
}

void LoadedModel::check_prompt(std::span<const std::int32_t> tokens) const { check_ids(tokens); }

std::unique_ptr<KvCache> LoadedModel::make_cache(std::int64_t tokens) {
  return std::make_unique<KvCache>(transformer_->facts().cache, tokens, dtype_, device_);
}

at::Tensor LoadedModel::decode(std::span<const DecodeRow> rows) {
  std::vector<SequenceInput> inputs;
  std::vector<std::int64_t> last;  // of the rows that want scores: their last token's place
  std::int64_t tokens = 0;
  for (const DecodeRow& row : rows) {
    inputs.push_back({row.tokens, row.cache});
    tokens += static_cast<std::int64_t>(row.tokens.size());
    if (row.want_scores) last.push_back(tokens - 1);
  }
  const at::Tensor hidden = transformer_->forward(pack(inputs, device_), false).last;
  at::Tensor scores;
  if (static_cast<std::int64_t>(last.size()) == tokens) {
    scores = logits_of(hidden);
  } else if (!last.empty()) {
    scores = logits_of(hidden.index_select(0, at::tensor(last, at::kLong).to(device_)));
  }
  for (const DecodeRow& row : rows)
    row.cache->advance(static_cast<std::int64_t>(row.tokens.size()));
  return scores;
}

void LoadedModel::run(std::span<const BatchRow> rows) {
  std::vector<std::size_t> lengths;
  lengths.reserve(rows.size());
  for (const BatchRow& row : rows) lengths.push_back(row.tokens->ids.size());
  for (const auto& chunk :
       plan_chunks(lengths, device_.is_cpu() ? kCpuChunkTokens : kDeviceChunkTokens)) {
    std::vector<const BatchRow*> chosen;
    chosen.reserve(chunk.size());
    for (std::size_t row : chunk) chosen.push_back(&rows[row]);
    run_chunk(chosen);
  }
}

void LoadedModel::run_chunk(std::span<const BatchRow* const> rows) {
  std::vector<const TokenRow*> tokens;
  Want any;
  for (const BatchRow* row : rows) {
    tokens.push_back(row->tokens);
    any.pooled |= row->want->pooled;
    any.raw |= row->want->pooled && row->want->raw;
    any.last_hidden_state |= row->want->last_hidden_state;
    any.hidden_states |= row->want->hidden_states;
    any.logits |= row->want->logits;
  }
  const PackedBatch batch = pack(tokens, device_);
  const HiddenStates states = transformer_->forward(batch, any.hidden_states);
  if (any.last_hidden_state || any.hidden_states || any.logits) require_finite(states.last);
  at::Tensor normal, raw;  // one copy to the host for the whole chunk
  if (any.pooled) {
    normal = pooling()(states.last, batch.groups).cpu();
    require_finite(normal);
    if (any.raw) raw = pooling()(states.last, batch.groups, true).cpu();
  }
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Want& want = *rows[i]->want;
    RowResult& result = *rows[i]->result;
    const auto length = static_cast<std::int64_t>(rows[i]->tokens->ids.size());
    // Where several share a chunk each gets a copy of its own, so that nobody keeps or changes what
    // is another's.
    auto own = [&](const at::Tensor& all) {
      at::Tensor part = all.narrow(0, begin, length);
      return rows.size() == 1 ? part : part.clone();
    };
    if (want.pooled)
      result.pooled = (want.raw ? raw : normal).select(0, static_cast<std::int64_t>(i));
    if (want.logits) result.logits = logits_of(states.last.narrow(0, begin, length));
    if (want.last_hidden_state) result.last_hidden_state = own(states.last);
    if (want.hidden_states) {
      result.hidden_states.clear();
      for (const at::Tensor& layer : states.all) result.hidden_states.push_back(own(layer));
    }
    begin += length;
  }
}

}  // namespace gpumcp::gpu_runtime
