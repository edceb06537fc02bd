#include "gpu_runtime/models/decoder.h"

#include <cmath>

#include "gpu_runtime/error.h"
#include "gpu_runtime/layers/embedding.h"
#include "gpu_runtime/models/class_head.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {
namespace {

struct DecoderLayer {
  RmsNorm attention_norm, mlp_norm, behind_attention, behind_mlp, query_norm, key_norm;
  Linear query_key_value, output, gate_up, down;
  AttentionConfig attention;
  std::size_t rope = 0;
};

class LayerLoader {
 public:
  LayerLoader(const Weights& weights, const DecoderConfig& config, std::size_t index)
      : weights_(weights), c_(config), at_("layers." + std::to_string(index) + ".") {}

  DecoderLayer load(const DecoderLayerConfig& layer) const {
    const AttentionConfig& a = c_.attention;
    const std::int64_t d = c_.facts.hidden_size, inner = c_.intermediate_size;
    const std::int64_t q = a.heads * a.head_dim, kv = a.kv_heads * a.head_dim;
    DecoderLayer loaded{
        .attention_norm = norm("input_layernorm", d),
        .mlp_norm =
            norm(c_.norms_behind ? "pre_feedforward_layernorm" : "post_attention_layernorm", d),
        .query_key_value = linear({"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
                                  {q, kv, kv}, d, c_.qkv_bias),
        .output = linear({"self_attn.o_proj"}, {d}, q, c_.output_bias),
        .gate_up = linear({"mlp.gate_proj", "mlp.up_proj"}, {inner, inner}, d, c_.mlp_bias),
        .down = linear({"mlp.down_proj"}, {d}, inner, c_.mlp_bias),
        .attention = a,
        .rope = layer.rope};
    loaded.attention.window = layer.window;
    if (c_.norms_behind) {
      loaded.behind_attention = norm("post_attention_layernorm", d);
      loaded.behind_mlp = norm("post_feedforward_layernorm", d);
    }
    if (c_.query_key_norm) {
      loaded.query_norm = norm("self_attn.q_norm", a.head_dim);
      loaded.key_norm = norm("self_attn.k_norm", a.head_dim);
    }
    return loaded;
  }

 private:
  RmsNorm norm(const std::string& name, std::int64_t size) const {
    return RmsNorm(weights_.get(at_ + name + ".weight", {size}), c_.epsilon, c_.norm);
  }
  // Several side by side: one product instead of three.
  Linear linear(std::initializer_list<const char*> names, std::initializer_list<std::int64_t> outs,
                std::int64_t in, bool bias) const {
    std::vector<at::Tensor> rows, biases;
    const std::int64_t* out = outs.begin();
    for (const char* name : names) {
      rows.push_back(weights_.get(at_ + name + ".weight", {*out, in}));
      if (bias) biases.push_back(weights_.get(at_ + name + ".bias", {*out}));
      ++out;
    }
    if (rows.size() == 1) return Linear(rows[0], bias ? biases[0] : at::Tensor());
    return Linear(at::cat(rows), bias ? at::cat(biases) : at::Tensor());
  }

  const Weights& weights_;
  const DecoderConfig& c_;
  const std::string at_;
};

class Decoder final : public Transformer {
 public:
  Decoder(DecoderConfig config, const Checkpoint& checkpoint, at::ScalarType dtype,
          c10::Device device)
      : config_(std::move(config)) {
    const Weights weights(checkpoint,
                          {"model.", "", "language_model.model.", "model.language_model."},
                          "embed_tokens.weight", dtype, device);
    const std::int64_t d = config_.facts.hidden_size, vocabulary = config_.facts.vocab_size;
    const at::Tensor table = weights.get("embed_tokens.weight", {vocabulary, d});
    embeddings_ = Embedding(table);
    if (config_.tied) {
      tied_table_ = table;
    } else if (auto prefix = head_prefix(checkpoint)) {
      const Weights outer(checkpoint, {*prefix}, "lm_head.weight", dtype, device);
      head_.emplace(outer.get("lm_head.weight", {vocabulary, d}), at::Tensor());
    }
    for (std::size_t i = 0; i < config_.layers.size(); ++i)
      layers_.push_back(LayerLoader(weights, config_, i).load(config_.layers[i]));
    norm_ = RmsNorm(weights.get("norm.weight", {d}), config_.epsilon, config_.norm);
    for (const RopeConfig& rope : config_.ropes)
      rotaries_.emplace_back(rope, config_.attention.head_dim, dtype, device);
    if (config_.facts.labels > 0) {
      classes_.emplace(checkpoint, ClassHeadNames{.labels = "score", .bias = false}, d,
                       config_.facts.labels, dtype, device);
    }
    // Rounded to the weights' type, as the models were trained.
    if (config_.scale_embeddings)
      scale_ = at::full({}, std::sqrt(static_cast<double>(d)), table.options());
  }

  const TransformerFacts& facts() const override { return config_.facts; }

  HiddenStates forward(const PackedBatch& batch, bool all_hidden_states) const override {
    HiddenStates states;
    std::vector<RotaryAngles> angles;
    for (const Rotary& rotary : rotaries_) angles.push_back(rotary.angles(batch.positions));
    at::Tensor x = embeddings_(batch.ids);
    if (scale_.defined()) x = x * scale_;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const auto number = static_cast<std::int64_t>(i);
      if (number == batch.layers) return states;
      batch.between_layers();
      batch.tap(SiteKind::resid_pre, number, x);
      if (all_hidden_states) states.all.push_back(x);
      const DecoderLayer& layer = layers_[i];
      at::Tensor mixed = attend(layer, layer.attention_norm(x), batch, i, angles[layer.rope]);
      if (config_.norms_behind) mixed = layer.behind_attention(mixed);
      batch.tap(SiteKind::attn_out, number, mixed);
      x = x + mixed;
      batch.tap(SiteKind::resid_mid, number, x);
      at::Tensor fed = feed_forward(layer, layer.mlp_norm(x), batch, number);
      if (config_.norms_behind) fed = layer.behind_mlp(fed);
      batch.tap(SiteKind::mlp_out, number, fed);
      x = x + fed;
      batch.tap(SiteKind::resid_post, number, x);
    }
    states.last = norm_(x);
    batch.tap(SiteKind::final_norm, 0, states.last);
    if (all_hidden_states) states.all.push_back(states.last);
    return states;
  }

  at::Tensor final_norm(const at::Tensor& hidden) const override { return norm_(hidden); }

  at::Tensor class_scores(const at::Tensor& hidden) const override {
    return classes_ ? (*classes_)(hidden) : at::Tensor();
  }

  at::Tensor logits(const at::Tensor& hidden) const override {
    // On a CPU the head's own order of the table takes as much memory as the table again, so a
    // model that only reads never pays for it.
    if (!head_ && tied_table_.defined()) head_.emplace(tied_table_, at::Tensor());
    if (!head_) return {};
    at::Tensor scores = (*head_)(hidden);
    if (config_.logit_soft_cap > 0) {
      scores = scores.div(config_.logit_soft_cap).tanh_().mul_(config_.logit_soft_cap);
    }
    return scores.to(at::kFloat);
  }

 private:
  static std::optional<std::string_view> head_prefix(const Checkpoint& checkpoint) {
    for (std::string_view prefix : {"", "language_model."}) {
      if (checkpoint.find(std::string(prefix) + "lm_head.weight") != nullptr) return prefix;
    }
    return std::nullopt;  // a base model without a head
  }

  at::Tensor attend(const DecoderLayer& layer, const at::Tensor& x, const PackedBatch& batch,
                    std::size_t index, const RotaryAngles& angles) const {
    const AttentionConfig& a = layer.attention;
    const auto number = static_cast<std::int64_t>(index);
    const at::Tensor flat = layer.query_key_value(x);
    batch.adapt(LinearSite::query_key_value, number, x, flat);
    tap_query_key_value(batch, number, flat, a);
    const at::Tensor all = flat.view({x.size(0), -1, a.head_dim});
    at::Tensor q = all.narrow(1, 0, a.heads), k = all.narrow(1, a.heads, a.kv_heads);
    const at::Tensor v = all.narrow(1, a.heads + a.kv_heads, a.kv_heads);
    if (config_.query_key_norm) {
      q = layer.query_norm(q);
      k = layer.key_norm(k);
    }
    const at::Tensor mixed =
        grouped_attention(rotate(q, angles), rotate(k, angles), v, batch, index, a);
    const at::Tensor out = layer.output(mixed);
    batch.adapt(LinearSite::attention_output, number, mixed, out);
    return out;
  }

  at::Tensor feed_forward(const DecoderLayer& layer, const at::Tensor& x, const PackedBatch& batch,
                          std::int64_t index) const {
    const at::Tensor both = layer.gate_up(x);
    batch.adapt(LinearSite::up, index, x, both);
    const std::int64_t inner = config_.intermediate_size;
    const at::Tensor neurons =
        activate(both.narrow(1, 0, inner), config_.activation).mul_(both.narrow(1, inner, inner));
    batch.tap(SiteKind::mlp_post, index, neurons);
    const at::Tensor fed = layer.down(neurons);
    batch.adapt(LinearSite::down, index, neurons, fed);
    return fed;
  }

  const DecoderConfig config_;
  Embedding embeddings_;
  at::Tensor scale_, tied_table_;
  mutable std::optional<Linear> head_;  // made at its first use where it is tied
  std::optional<ClassHead> classes_;
  std::vector<DecoderLayer> layers_;
  RmsNorm norm_;
  std::vector<Rotary> rotaries_;
};

}  // namespace

// The bounds are far beyond any known model; they keep a hostile config from overflowing a product.
DecoderConfig read_decoder_config(const ModelConfig& config, std::int64_t head_dim) {
  DecoderConfig c;
  c.facts.num_layers = config.get_int("num_hidden_layers", 1, 1000);
  c.facts.hidden_size = config.get_int("hidden_size", 1, 1 << 17);
  c.facts.vocab_size = config.get_int("vocab_size", 1, 1 << 28);
  c.facts.max_length = config.get_int("max_position_embeddings", 1, std::int64_t{1} << 32);
  c.intermediate_size = config.get_int("intermediate_size", 1, 1 << 20);
  c.epsilon = config.get_number("rms_norm_eps", 0, 1, 1e-6);
  AttentionConfig& a = c.attention;
  a.heads = config.get_int("num_attention_heads", 1, 1 << 16);
  a.kv_heads = config.get_int("num_key_value_heads", 1, 1 << 16, a.heads);
  if (a.heads % a.kv_heads != 0) {
    throw Error(ErrorCode::corrupt_checkpoint,
                config.origin() + ": num_attention_heads " + std::to_string(a.heads) +
                    " is no multiple of num_key_value_heads " + std::to_string(a.kv_heads));
  }
  if (head_dim == 0 && !config.has("head_dim") && c.facts.hidden_size % a.heads != 0) {
    throw Error(ErrorCode::corrupt_checkpoint,
                config.origin() + ": hidden_size " + std::to_string(c.facts.hidden_size) +
                    " is no multiple of num_attention_heads " + std::to_string(a.heads));
  }
  a.head_dim = config.get_int("head_dim", 2, 1 << 16,
                              head_dim > 0 ? head_dim : c.facts.hidden_size / a.heads);
  if (a.head_dim % 2 != 0) {
    throw Error(ErrorCode::corrupt_checkpoint, config.origin() + ": head_dim " +
                                                   std::to_string(a.head_dim) +
                                                   " is odd; rotary positions need pairs");
  }
  a.scale = 1 / std::sqrt(static_cast<double>(a.head_dim));
  c.facts.labels = count_labels(config);
  c.facts.last_token_scored = true;
  c.facts.cache = {c.facts.num_layers, a.kv_heads, a.head_dim};
  const std::int64_t d = c.facts.hidden_size, q = a.heads * a.head_dim,
                     kv = a.kv_heads * a.head_dim, inner = c.intermediate_size;
  c.facts.taps = {c.facts.num_layers, d, a.heads, q, inner, a.kv_heads, kv};
  using enum LinearSite;
  c.facts.adapters.targets = {{"self_attn.q_proj", query_key_value, d, 0, q},
                              {"self_attn.k_proj", query_key_value, d, q, kv},
                              {"self_attn.v_proj", query_key_value, d, q + kv, kv},
                              {"self_attn.o_proj", attention_output, q, 0, d},
                              {"mlp.gate_proj", up, d, 0, inner},
                              {"mlp.up_proj", up, d, inner, inner},
                              {"mlp.down_proj", down, inner, 0, d}};
  c.layers.resize(static_cast<std::size_t>(c.facts.num_layers));
  return c;
}

std::optional<std::vector<bool>> read_sliding_layers(const ModelConfig& config,
                                                     std::int64_t num_layers) {
  if (!config.has("layer_types")) return std::nullopt;
  const Json& types = config.json().at("layer_types");
  if (!types.is_array() || types.size() != static_cast<std::size_t>(num_layers)) {
    throw Error(ErrorCode::corrupt_checkpoint, config.origin() +
                                                   ": \"layer_types\" must be an array of " +
                                                   std::to_string(num_layers) + " strings");
  }
  std::vector<bool> sliding;
  for (const Json& type : types) {
    if (type != "sliding_attention" && type != "full_attention") {
      throw Error(ErrorCode::unsupported, config.origin() + ": layer_types holds " +
                                              describe_json(type) +
                                              " (supported: sliding_attention, full_attention)");
    }
    sliding.push_back(type == "sliding_attention");
  }
  return sliding;
}

std::unique_ptr<Transformer> load_decoder(DecoderConfig config, const Checkpoint& checkpoint,
                                          at::ScalarType dtype, c10::Device device) {
  return std::make_unique<Decoder>(std::move(config), checkpoint, dtype, device);
}

}  // namespace gpumcp::gpu_runtime
