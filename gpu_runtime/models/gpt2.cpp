#include "gpu_runtime/models/gpt2.h"

#include <cmath>

#include "gpu_runtime/error.h"
#include "gpu_runtime/layers/attention.h"
#include "gpu_runtime/layers/embedding.h"
#include "gpu_runtime/layers/layer_norm.h"
#include "gpu_runtime/layers/linear.h"
#include "gpu_runtime/models/activation.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {
namespace {

struct Gpt2Config {
  TransformerFacts facts;
  AttentionConfig attention;
  std::int64_t intermediate_size = 0;
  double epsilon = 0;
  Activation activation = Activation::gelu_tanh;
  bool scale_by_layer = false;
};

Gpt2Config read_gpt2_config(const ModelConfig& config) {
  Gpt2Config c;
  c.facts.num_layers = config.get_int("n_layer", 1, 1000);
  c.facts.hidden_size = config.get_int("n_embd", 1, 1 << 17);
  c.facts.vocab_size = config.get_int("vocab_size", 1, 1 << 28);
  c.facts.max_length = config.get_int("n_positions", 1, 1 << 24);
  c.intermediate_size = config.get_int("n_inner", 1, 1 << 20, 4 * c.facts.hidden_size);
  c.epsilon = config.get_number("layer_norm_epsilon", 0, 1, 1e-5);
  c.activation =
      parse_activation(config.get_string("activation_function", "gelu_new"), config.origin());
  c.scale_by_layer = config.get_bool("scale_attn_by_inverse_layer_idx", false);
  AttentionConfig& a = c.attention;
  a.heads = a.kv_heads = config.get_int("n_head", 1, 1 << 16);
  if (c.facts.hidden_size % a.heads != 0) {
    throw Error(ErrorCode::corrupt_checkpoint,
                config.origin() + ": n_embd " + std::to_string(c.facts.hidden_size) +
                    " is no multiple of n_head " + std::to_string(a.heads));
  }
  a.head_dim = c.facts.hidden_size / a.heads;
  a.scale = config.get_bool("scale_attn_weights", true)
                ? 1 / std::sqrt(static_cast<double>(a.head_dim))
                : 1;
  c.facts.cache = {c.facts.num_layers, a.kv_heads, a.head_dim};
  const std::int64_t d = c.facts.hidden_size, inner = c.intermediate_size;
  c.facts.taps = {c.facts.num_layers, d, a.heads, d, inner, a.heads, d};
  using enum LinearSite;
  c.facts.adapters = {.layers = "h.",
                      .targets = {{"attn.c_attn", query_key_value, d, 0, 3 * d},
                                  {"attn.c_proj", attention_output, d, 0, d},
                                  {"mlp.c_fc", up, d, 0, inner},
                                  {"mlp.c_proj", down, inner, 0, d}}};
  return c;
}

struct Gpt2Layer {
  LayerNorm attention_norm, mlp_norm;
  Linear query_key_value, output, up, down;
  AttentionConfig attention;
};

Gpt2Layer load_layer(const Weights& weights, const Gpt2Config& c, std::int64_t index) {
  const std::int64_t d = c.facts.hidden_size, inner = c.intermediate_size;
  const std::string at_layer = "h." + std::to_string(index) + ".";
  auto linear = [&](const std::string& name, std::int64_t in, std::int64_t out) {  // [in, out]
    return Linear(weights.get(at_layer + name + ".weight", {in, out}).t().contiguous(),
                  weights.get(at_layer + name + ".bias", {out}));
  };
  auto norm = [&](const std::string& name) {
    return LayerNorm(weights.get(at_layer + name + ".weight", {d}),
                     weights.get(at_layer + name + ".bias", {d}), c.epsilon);
  };
  Gpt2Layer layer{.attention_norm = norm("ln_1"),
                  .mlp_norm = norm("ln_2"),
                  .query_key_value = linear("attn.c_attn", d, 3 * d),
                  .output = linear("attn.c_proj", d, d),
                  .up = linear("mlp.c_fc", d, inner),
                  .down = linear("mlp.c_proj", inner, d),
                  .attention = c.attention};
  if (c.scale_by_layer) layer.attention.scale /= static_cast<double>(index + 1);
  return layer;
}

class Gpt2 final : public Transformer {
 public:
  Gpt2(const Gpt2Config& config, const ModelConfig& file, const Checkpoint& checkpoint,
       at::ScalarType dtype, c10::Device device)
      : config_(config) {
    const Weights weights(checkpoint, {"transformer.", ""}, "wte.weight", dtype, device);
    const std::int64_t d = config.facts.hidden_size, vocabulary = config.facts.vocab_size;
    head_ = weights.get("wte.weight", {vocabulary, d});
    words_ = Embedding(head_);
    positions_ = Embedding(weights.get("wpe.weight", {config.facts.max_length, d}));
    if (!file.get_bool("tie_word_embeddings", true)) {
      head_ = Weights(checkpoint, {""}, "lm_head.weight", dtype, device)
                  .get("lm_head.weight", {vocabulary, d});
    }
    for (std::int64_t i = 0; i < config.facts.num_layers; ++i)
      layers_.push_back(load_layer(weights, config, i));
    norm_ =
        LayerNorm(weights.get("ln_f.weight", {d}), weights.get("ln_f.bias", {d}), config.epsilon);
  }

  const TransformerFacts& facts() const override { return config_.facts; }

  HiddenStates forward(const PackedBatch& batch, bool all_hidden_states) const override {
    HiddenStates states;
    at::Tensor x = words_(batch.ids).add_(positions_(batch.positions));
    const std::int64_t heads = config_.attention.heads;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
      const auto number = static_cast<std::int64_t>(i);
      if (number == batch.layers) return states;
      batch.between_layers();
      batch.tap(SiteKind::resid_pre, number, x);
      if (all_hidden_states) states.all.push_back(x);
      const Gpt2Layer& layer = layers_[i];
      const at::Tensor normed = layer.attention_norm(x);
      const at::Tensor flat = layer.query_key_value(normed);
      batch.adapt(LinearSite::query_key_value, number, normed, flat);
      tap_query_key_value(batch, number, flat, layer.attention);
      const at::Tensor all = flat.view({x.size(0), 3 * heads, config_.attention.head_dim});
      const at::Tensor z =
          grouped_attention(all.narrow(1, 0, heads), all.narrow(1, heads, heads),
                            all.narrow(1, 2 * heads, heads), batch, i, layer.attention);
      const at::Tensor mixed = layer.output(z);
      batch.adapt(LinearSite::attention_output, number, z, mixed);
      batch.tap(SiteKind::attn_out, number, mixed);
      x = mixed + x;
      batch.tap(SiteKind::resid_mid, number, x);
      const at::Tensor read = layer.mlp_norm(x);
      // The activation comes apart, so that a row with an adapter changes no bit of one without.
      at::Tensor neurons = layer.up(read);
      batch.adapt(LinearSite::up, number, read, neurons);
      neurons = activate(neurons, config_.activation);
      batch.tap(SiteKind::mlp_post, number, neurons);
      const at::Tensor fed = layer.down(neurons);
      batch.adapt(LinearSite::down, number, neurons, fed);
      batch.tap(SiteKind::mlp_out, number, fed);
      x = fed + x;
      batch.tap(SiteKind::resid_post, number, x);
    }
    states.last = norm_(x);
    batch.tap(SiteKind::final_norm, 0, states.last);
    if (all_hidden_states) states.all.push_back(states.last);
    return states;
  }

  at::Tensor final_norm(const at::Tensor& hidden) const override { return norm_(hidden); }

  at::Tensor logits(const at::Tensor& hidden) const override {
    return at::linear(hidden, head_).to(at::kFloat);
  }

 private:
  const Gpt2Config config_;
  Embedding words_, positions_;
  at::Tensor head_;
  std::vector<Gpt2Layer> layers_;
  LayerNorm norm_;
};

}  // namespace

std::unique_ptr<Transformer> load_gpt2(const ModelConfig& config, const Checkpoint& checkpoint,
                                       at::ScalarType dtype, c10::Device device) {
  return std::make_unique<Gpt2>(read_gpt2_config(config), config, checkpoint, dtype, device);
}

}  // namespace gpumcp::gpu_runtime
