#include "gpu_runtime/loaded_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "gpu_runtime/batch_taps.h"
#include "gpu_runtime/device.h"
#include "gpu_runtime/device_mark.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/models/registry.h"
#include "gpu_runtime/token_limits.h"
#include "gpu_runtime/weight_reader.h"
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

const ModelConfig& checked(const ModelConfig& config) {
  check_model_type(config);  // before the weights: an unknown architecture is the better message
  return config;
}

}  // namespace

LoadedModel::LoadedModel(const LoadRequest& request)
    : folder_(request.folder),
      device_(request.device),
      checkpoint_((checked(ModelConfig::from_pretrained(folder_)),
                   request.checkpoint ? *request.checkpoint : Checkpoint::open(folder_))),
      take_memory_(request.take_memory) {
  const ModelConfig config = ModelConfig::from_pretrained(folder_);
  dtype_ = choose_dtype(request.dtype, config, device_, count_parameters(checkpoint_));
  auto session = checkpoint_.session() ? checkpoint_.session() : std::make_shared<WeightSession>();
  if (!session->wanted) session->wanted = request.wanted;
  LoadStream stream(device_);
  transformer_ = load_transformer(config, checkpoint_.with(session), dtype_, device_);
  stream.finish();
  nbytes_ = session->device_bytes;
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

void LoadedModel::check(const TokenRow& row) const {
  const TransformerFacts& facts = transformer_->facts();
  check_tokens(row, {.vocab_size = facts.vocab_size,
                     .max_length = facts.max_length,
                     .type_vocab_size = facts.type_vocab_size});
  if (row.taps) check_taps(*row.taps, facts.taps, static_cast<std::int64_t>(row.ids.size()), false);
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

at::Tensor LoadedModel::class_scores_of(const at::Tensor& hidden,
                                        std::span<const LengthGroup> groups) const {
  const TransformerFacts& facts = transformer_->facts();
  if (facts.labels == 0) {
    throw Error(ErrorCode::unsupported,
                folder_.string() +
                    ": the model scores no pairs: its config.json names no "
                    "...ForSequenceClassification that is supported (a cross-encoder is one)");
  }
  std::vector<std::int64_t> places;
  std::int64_t begin = 0;
  for (const LengthGroup& group : groups) {
    for (std::int64_t i = 0; i < group.count; ++i, begin += group.length)
      places.push_back(facts.last_token_scored ? begin + group.length - 1 : begin);
  }
  return transformer_->class_scores(
      hidden.index_select(0, at::tensor(places, at::kLong).to(device_)));
}

at::Tensor LoadedModel::log_probabilities_of(const at::Tensor& hidden,
                                             const at::Tensor& ids) const {
  // In pieces: the scores of a long text would take gigabytes.
  constexpr std::int64_t kPiece = 256;
  std::vector<at::Tensor> parts{at::empty({0}, at::kFloat)};
  const std::int64_t last = hidden.size(0) - 1;
  for (std::int64_t begin = 0; begin < last; begin += kPiece) {
    const std::int64_t count = std::min(kPiece, last - begin);
    const at::Tensor scores = logits_of(hidden.narrow(0, begin, count));
    const at::Tensor chosen = scores.gather(1, ids.narrow(0, begin + 1, count).unsqueeze(1));
    parts.push_back((chosen.squeeze(1) - scores.logsumexp(1)).cpu());
  }
  return at::cat(parts);
}

void LoadedModel::require_finite(const at::Tensor& values) {
  // Their sum was not finite: it is cheap, and NaN or infinite when a term is. It may have
  // overflowed without.
  if (at::isfinite(values).all().item<bool>()) return;
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

void LoadedModel::check_prompt(std::span<const std::int32_t> tokens) const {
  check_ids(tokens, transformer_->facts().vocab_size);
}

std::shared_ptr<const RowTaps> LoadedModel::prepare_taps(const RowTaps& taps) const {
  check_taps(taps, transformer_->facts().taps, transformer_->facts().max_length, true);
  return place(taps);
}

std::shared_ptr<const RowTaps> LoadedModel::place(const RowTaps& taps) const {
  auto placed = taps_on(taps, device_, dtype_);
  if (taps.adapter) placed->placed = place(taps.adapter);
  return placed;
}

std::shared_ptr<const PlacedAdapter> LoadedModel::place(
    const std::shared_ptr<const LoraAdapter>& adapter) const {
  if (const auto known = adapters_.find(adapter.get()); known != adapters_.end())
    return known->second;
  auto take = [&] {
    return !take_memory_ || take_memory_(static_cast<std::int64_t>(adapter->nbytes()));
  };
  if (!take()) {  // those that no text uses now make room
    std::erase_if(adapters_, [&](const auto& one) {
      if (one.second.use_count() > 1) return false;
      take_memory_(-static_cast<std::int64_t>(one.second->nbytes()));
      return true;
    });
    if (!take()) {
      throw Error(ErrorCode::out_of_memory,
                  "adapter " + adapter->name() + ": there is no room for its " +
                      std::to_string(adapter->nbytes()) + " bytes beside the models");
    }
  }
  try {
    const TransformerFacts& facts = transformer_->facts();
    auto made = std::make_shared<const PlacedAdapter>(adapter, facts.adapters, facts.num_layers,
                                                      device_, dtype_);
    return adapters_[adapter.get()] = std::move(made);
  } catch (...) {
    if (take_memory_) take_memory_(-static_cast<std::int64_t>(adapter->nbytes()));
    throw;
  }
}

std::vector<at::Tensor> LoadedModel::captures_of(const RowTaps& taps,
                                                 std::vector<at::Tensor> raw) const {
  const TapFacts& facts = transformer_->facts().taps;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    const Capture& capture = taps.captures[i];
    if (!raw[i].defined()) continue;
    const SiteKind kind = capture.site.kind;
    if (kind == SiteKind::z || kind == SiteKind::q || kind == SiteKind::k || kind == SiteKind::v) {
      const bool shared = kind == SiteKind::k || kind == SiteKind::v;
      raw[i] = raw[i].view({raw[i].size(0), shared ? facts.kv_heads : facts.heads, -1});
    }
    if (!capture.as_logits) continue;
    raw[i] = logits_of(
        capture.site.kind == SiteKind::final_norm ? raw[i] : transformer_->final_norm(raw[i]));
  }
  return raw;
}

std::unique_ptr<KvCache> LoadedModel::make_cache(std::int64_t tokens) {
  return std::make_unique<KvCache>(transformer_->facts().cache, tokens, dtype_, device_);
}

at::Tensor LoadedModel::decode(std::span<const DecodeRow> rows) {
  std::vector<SequenceInput> inputs;
  std::vector<std::int64_t> last;  // of the rows that want scores: their last token's place
  std::vector<TappedRow> tapped;
  std::int64_t tokens = 0;
  for (const DecodeRow& row : rows) {
    inputs.push_back({row.tokens, row.cache});
    if (row.taps) {
      tapped.push_back(
          {row.taps, tokens, static_cast<std::int64_t>(row.tokens.size()), row.cache->length()});
    }
    tokens += static_cast<std::int64_t>(row.tokens.size());
    if (row.want_scores) last.push_back(tokens - 1);
  }
  PackedBatch batch = pack(inputs, device_);
  std::optional<BatchTaps> taps;
  if (!tapped.empty()) batch.taps = &taps.emplace(std::move(tapped));
  const at::Tensor hidden = transformer_->forward(batch, false).last;
  at::Tensor scores;
  if (static_cast<std::int64_t>(last.size()) == tokens) {
    scores = logits_of(hidden);
  } else if (!last.empty()) {
    scores = logits_of(hidden.index_select(0, at::tensor(last, at::kLong).to(device_)));
  }
  std::size_t next_tapped = 0;
  std::vector<std::vector<at::Tensor>> captured;  // all, before any row is changed
  for (const DecodeRow& row : rows) {
    if (!row.taps) continue;
    captured.push_back(captures_of(*row.taps, std::move(taps->captured(next_tapped++))));
  }
  next_tapped = 0;
  for (const DecodeRow& row : rows) {
    if (row.taps && row.captured != nullptr) *row.captured = std::move(captured[next_tapped]);
    next_tapped += row.taps ? 1 : 0;
    row.cache->advance(static_cast<std::int64_t>(row.tokens.size()));
  }
  return scores;
}

// What goes through the layers together, and what of it is still on its way to the host.
struct LoadedModel::Chunk {
  std::vector<const BatchRow*> rows;
  at::Tensor normal, raw;  // [rows, dims] in host memory, once the device has finished
  at::Tensor scores;       // [rows, labels], likewise
  at::Tensor hidden;       // to look at closely when its sum is not finite
  at::Tensor hidden_sum;   // in host memory; undefined: nothing was asked of it
};

class LoadedModel::Pending final : public PendingBatch {
 public:
  Pending(LoadedModel& model, c10::Device device) : model_(model), began_(device) {}
  ~Pending() override {
    try {
      if (ended_) ended_->wait();
    } catch (...) {  // the device is in an error state: nothing runs there any more
    }
  }
  bool done() const override { return ended_->passed(); }
  double finish() override {
    ended_->wait();
    for (Chunk& chunk : chunks) model_.settle(chunk);
    return began_.ms_until(*ended_);
  }
  void end(c10::Device device) { ended_.emplace(device); }

  std::vector<Chunk> chunks;

 private:
  LoadedModel& model_;
  const DeviceMark began_;
  std::optional<DeviceMark> ended_;
};

std::unique_ptr<LoadedModel::Pending> LoadedModel::launch(std::span<const BatchRow> rows,
                                                          const StillWanted& wanted) {
  std::vector<std::size_t> lengths;
  lengths.reserve(rows.size());
  for (const BatchRow& row : rows) lengths.push_back(row.tokens->ids.size());
  auto pending = std::make_unique<Pending>(*this, device_);
  for (const auto& chunk :
       plan_chunks(lengths, device_.is_cpu() ? kCpuChunkTokens : kDeviceChunkTokens)) {
    std::vector<const BatchRow*> chosen;
    chosen.reserve(chunk.size());
    for (std::size_t row : chunk) chosen.push_back(&rows[row]);
    pending->chunks.push_back(launch_chunk(std::move(chosen), wanted));
  }
  pending->end(device_);
  return pending;
}

void LoadedModel::run(std::span<const BatchRow> rows, const StillWanted& wanted) {
  launch(rows, wanted)->finish();
}

std::unique_ptr<PendingBatch> LoadedModel::start(std::span<const BatchRow> rows,
                                                 const StillWanted& wanted) {
  auto pending = launch(rows, wanted);
  if (!device_.is_cpu()) return pending;
  pending->finish();
  return nullptr;
}

LoadedModel::Chunk LoadedModel::launch_chunk(std::vector<const BatchRow*> rows,
                                             const StillWanted& wanted) {
  Chunk chunk{.rows = std::move(rows)};
  std::vector<const TokenRow*> tokens;
  Want any;
  for (const BatchRow* row : chunk.rows) {
    tokens.push_back(row->tokens);
    any.pooled |= row->want->pooled;
    any.raw |= row->want->pooled && row->want->raw;
    any.last_hidden_state |= row->want->last_hidden_state;
    any.hidden_states |= row->want->hidden_states;
    any.class_scores |= row->want->class_scores;
    any.logits |= row->want->logits || row->want->last_logits || row->want->log_probabilities;
  }
  PackedBatch batch = pack(tokens, device_);
  batch.wanted = &wanted;
  std::vector<TappedRow> tapped;
  std::int64_t first = 0;
  bool only_taps = !any.pooled && !any.last_hidden_state && !any.hidden_states && !any.logits &&
                   !any.class_scores;
  for (const BatchRow* row : chunk.rows) {
    const auto length = static_cast<std::int64_t>(row->tokens->ids.size());
    if (row->tokens->taps) tapped.push_back({place(*row->tokens->taps), first, length, 0});
    first += length;
  }
  only_taps = only_taps && tapped.size() == chunk.rows.size();
  std::optional<BatchTaps> taps;
  if (!tapped.empty()) batch.taps = &taps.emplace(std::move(tapped));
  if (only_taps) batch.layers = taps->layers_needed();
  const HiddenStates states = transformer_->forward(batch, any.hidden_states);
  if (any.last_hidden_state || any.hidden_states || any.logits) {
    chunk.hidden = states.last;
    chunk.hidden_sum = copy_to_host(states.last.sum(at::kFloat));
  }
  if (any.pooled) {  // one copy to the host for the whole chunk
    chunk.normal = copy_to_host(pooling()(states.last, batch.groups));
    if (any.raw) chunk.raw = copy_to_host(pooling()(states.last, batch.groups, true));
  }
  if (any.class_scores) chunk.scores = copy_to_host(class_scores_of(states.last, batch.groups));
  std::int64_t begin = 0;
  std::size_t next_tapped = 0;
  for (const BatchRow* row : chunk.rows) {
    const Want& want = *row->want;
    RowResult& result = *row->result;
    const auto length = static_cast<std::int64_t>(row->tokens->ids.size());
    if (row->tokens->taps) {
      result.captures = captures_of(*row->tokens->taps, std::move(taps->captured(next_tapped++)));
    }
    // Where several share a chunk each gets a copy of its own, so that nobody keeps or changes what
    // is another's.
    auto own = [&](const at::Tensor& all) {
      at::Tensor part = all.narrow(0, begin, length);
      return chunk.rows.size() == 1 ? part : part.clone();
    };
    const at::Tensor hidden =
        states.last.defined() ? states.last.narrow(0, begin, length) : at::Tensor();
    if (want.logits) result.logits = logits_of(hidden);
    if (want.last_logits) result.logits = logits_of(hidden.narrow(0, length - 1, 1));
    if (want.log_probabilities) {
      result.log_probabilities = log_probabilities_of(hidden, batch.ids.narrow(0, begin, length));
    }
    if (want.last_hidden_state) result.last_hidden_state = own(states.last);
    if (want.hidden_states) {
      result.hidden_states.clear();
      for (const at::Tensor& layer : states.all) result.hidden_states.push_back(own(layer));
    }
    begin += length;
  }
  return chunk;
}

// The device has finished: what came to the host is looked at and handed out.
void LoadedModel::settle(Chunk& chunk) {
  if (chunk.hidden_sum.defined() && !std::isfinite(chunk.hidden_sum.item<float>()))
    require_finite(chunk.hidden);
  if (chunk.normal.defined() && !std::isfinite(chunk.normal.sum().item<float>()))
    require_finite(chunk.normal);
  if (chunk.scores.defined() && !std::isfinite(chunk.scores.sum().item<float>()))
    require_finite(chunk.scores);
  for (std::size_t i = 0; i < chunk.rows.size(); ++i) {
    if (chunk.rows[i]->want->class_scores)
      chunk.rows[i]->result->class_scores = chunk.scores.select(0, static_cast<std::int64_t>(i));
    if (!chunk.rows[i]->want->pooled) continue;
    const at::Tensor& all = chunk.rows[i]->want->raw ? chunk.raw : chunk.normal;
    chunk.rows[i]->result->pooled = all.select(0, static_cast<std::int64_t>(i));
  }
}

}  // namespace gpumcp::gpu_runtime
