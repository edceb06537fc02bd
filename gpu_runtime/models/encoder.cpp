#include "gpu_runtime/models/encoder.h"

#include <cmath>
#include <map>
#include <optional>

#include "gpu_runtime/error.h"
#include "gpu_runtime/layers/attention.h"
#include "gpu_runtime/layers/embedding.h"
#include "gpu_runtime/layers/layer_norm.h"
#include "gpu_runtime/models/activation.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {
namespace {

struct EncoderLayer {
  Linear query_key_value, attention_output, up, down;
  LayerNorm attention_norm, output_norm;
};

EncoderLayer load_layer(const Weights& weights, const EncoderConfig& c, std::int64_t index) {
  const std::int64_t d = c.facts.hidden_size, inner = c.intermediate_size;
  const EncoderNames& names = c.names;
  const std::string at_layer = names.layers + std::to_string(index) + ".";
  auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    return Linear(weights.get(at_layer + name + ".weight", {out, in}),
                  weights.get(at_layer + name + ".bias", {out}));
  };
  auto norm = [&](const std::string& name) {
    return LayerNorm(weights.get(at_layer + name + ".weight", {d}),
                     weights.get(at_layer + name + ".bias", {d}), c.epsilon);
  };
  std::vector<at::Tensor> rows, biases;  // one product instead of three
  for (const std::string& name : {names.query, names.key, names.value}) {
    rows.push_back(weights.get(at_layer + name + ".weight", {d, d}));
    biases.push_back(weights.get(at_layer + name + ".bias", {d}));
  }
  return {.query_key_value = Linear(at::cat(rows), at::cat(biases)),
          .attention_output = linear(names.attention_output, d, d),
          .up = linear(names.up, inner, d),
          .down = linear(names.down, d, inner),
          .attention_norm = norm(names.attention_norm),
          .output_norm = norm(names.output_norm)};
}

// Which row of the relative bias each pair of tokens takes, [length, length]: half of the rows for
// each direction; near distances one by one, far ones by their logarithm up to 128.
at::Tensor relative_rows(std::int64_t length, std::int64_t buckets, c10::Device device) {
  constexpr double kFarthest = 128;
  const std::int64_t half = buckets / 2, near = half / 2;
  const at::Tensor position = at::arange(length, at::TensorOptions(device).dtype(at::kLong));
  const at::Tensor distance = position.unsqueeze(0) - position.unsqueeze(1);  // key - query
  const at::Tensor away = distance.abs();
  const at::Tensor far =
      (near + (at::log(away.to(at::kFloat) / static_cast<double>(near)) /
               std::log(kFarthest / static_cast<double>(near)) * static_cast<double>(half - near))
                  .to(at::kLong))
          .clamp_max(half - 1);
  return at::where(away.lt(near), away, far) + distance.gt(0).to(at::kLong) * half;
}

class Encoder final : public Transformer {
 public:
  Encoder(EncoderConfig config, const Checkpoint& checkpoint, at::ScalarType dtype,
          c10::Device device)
      : config_(std::move(config)) {
    const TransformerFacts& facts = config_.facts;
    const std::int64_t d = facts.hidden_size;
    const Weights weights(checkpoint, {"", config_.names.prefix},
                          "embeddings.word_embeddings.weight", dtype, device);
    words_ = Embedding(weights.get("embeddings.word_embeddings.weight", {facts.vocab_size, d}));
    positions_ = Embedding(weights.get("embeddings.position_embeddings.weight",
                                       {config_.first_position + facts.max_length, d}));
    if (facts.type_vocab_size > 0) {
      types_ = Embedding(
          weights.get("embeddings.token_type_embeddings.weight", {facts.type_vocab_size, d}));
    }
    norm_ = LayerNorm(weights.get("embeddings.LayerNorm.weight", {d}),
                      weights.get("embeddings.LayerNorm.bias", {d}), config_.epsilon);
    if (config_.relative_buckets > 0) {
      relative_ = Embedding(weights.get("encoder.relative_attention_bias.weight",
                                        {config_.relative_buckets, config_.heads}));
    }
    for (std::int64_t i = 0; i < facts.num_layers; ++i)
      layers_.push_back(load_layer(weights, config_, i));
    if (facts.labels > 0) head_.emplace(checkpoint, config_.head, d, facts.labels, dtype, device);
  }

  const TransformerFacts& facts() const override { return config_.facts; }

  at::Tensor class_scores(const at::Tensor& hidden) const override {
    return head_ ? (*head_)(hidden) : at::Tensor();
  }

  HiddenStates forward(const PackedBatch& batch, bool all_hidden_states) const override {
    HiddenStates states;
    at::Tensor x = words_(batch.ids);
    if (config_.facts.type_vocab_size > 0)
      x.add_(batch.type_ids.defined() ? types_(batch.type_ids) : types_.row(0));
    x = norm_(x.add_(positions_(
        config_.first_position > 0 ? batch.positions + config_.first_position : batch.positions)));
    const AttentionBias bias = relative_bias(x.device());
    for (const EncoderLayer& layer : layers_) {
      batch.between_layers();
      if (all_hidden_states) states.all.push_back(x);
      at::Tensor mixed =
          self_attention(layer.query_key_value(x), batch.groups, config_.heads, bias);
      x = layer.attention_norm(layer.attention_output(mixed).add_(x));
      x = layer.output_norm(layer.down(layer.up(x, config_.activation)).add_(x));
    }
    if (all_hidden_states) states.all.push_back(x);
    states.last = x;
    return states;
  }

 private:
  // One bias serves all layers; it is made once a length and batch.
  AttentionBias relative_bias(c10::Device device) const {
    if (config_.relative_buckets == 0) return nullptr;
    auto made = std::make_shared<std::map<std::int64_t, at::Tensor>>();
    return [this, device, made](std::int64_t length) {
      at::Tensor& bias = (*made)[length];
      if (!bias.defined()) {
        bias = relative_(relative_rows(length, config_.relative_buckets, device))
                   .permute({2, 0, 1})
                   .unsqueeze(0)
                   .contiguous();
      }
      return bias;
    };
  }

  const EncoderConfig config_;
  Embedding words_, positions_, types_, relative_;
  LayerNorm norm_;
  std::vector<EncoderLayer> layers_;
  std::optional<ClassHead> head_;
};

}  // namespace

void check_heads(const EncoderConfig& config, const std::string& origin) {
  if (config.facts.hidden_size % config.heads == 0) return;
  throw Error(ErrorCode::corrupt_checkpoint,
              origin + ": hidden_size " + std::to_string(config.facts.hidden_size) +
                  " is no multiple of num_attention_heads " + std::to_string(config.heads));
}

// The bounds are far beyond any known model; they keep a hostile config from overflowing a product.
EncoderConfig read_encoder_config(const ModelConfig& config) {
  EncoderConfig c;
  c.facts.num_layers = config.get_int("num_hidden_layers", 1, 1000);
  c.facts.hidden_size = config.get_int("hidden_size", 1, 1 << 17);
  c.facts.vocab_size = config.get_int("vocab_size", 1, 1 << 28);
  c.facts.max_length = config.get_int("max_position_embeddings", 1, 1 << 24);
  c.heads = config.get_int("num_attention_heads", 1, 1 << 16);
  c.intermediate_size = config.get_int("intermediate_size", 1, 1 << 20);
  c.facts.labels = count_labels(config);
  c.epsilon = config.get_number("layer_norm_eps", 0, 1, 1e-12);
  c.activation = parse_activation(config.get_string("hidden_act", "gelu"), config.origin());
  check_heads(c, config.origin());
  const std::string positions = config.get_string("position_embedding_type", "absolute");
  if (positions != "absolute" || config.get_bool("is_decoder", false)) {
    throw Error(ErrorCode::unsupported, config.origin() +
                                            ": only encoders with absolute positions are supported "
                                            "(position_embedding_type \"" +
                                            positions + "\")");
  }
  return c;
}

ClassHeadNames classifier_head() {
  return {.dense = "classifier.dense", .labels = "classifier.out_proj"};
}

void skip_padding_positions(const ModelConfig& config, EncoderConfig& encoder) {
  const std::int64_t rows = encoder.facts.max_length;
  encoder.first_position = config.get_int("pad_token_id", 0, rows - 2, 1) + 1;
  encoder.facts.max_length = rows - encoder.first_position;
}

std::unique_ptr<Transformer> load_encoder(EncoderConfig config, const Checkpoint& checkpoint,
                                          at::ScalarType dtype, c10::Device device) {
  return std::make_unique<Encoder>(std::move(config), checkpoint, dtype, device);
}

}  // namespace gpumcp::gpu_runtime
