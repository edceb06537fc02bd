#include "gpu_runtime/models/bert.h"

#include "gpu_runtime/error.h"
#include "gpu_runtime/layers/attention.h"
#include "gpu_runtime/layers/embedding.h"
#include "gpu_runtime/layers/layer_norm.h"
#include "gpu_runtime/layers/linear.h"
#include "gpu_runtime/models/activation.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {
namespace {

struct BertConfig {
  TransformerFacts facts;
  std::int64_t heads = 0, intermediate_size = 0;
  double epsilon = 0;
  Activation activation = Activation::gelu;
};

// The bounds are far beyond any known model; they keep a hostile config from overflowing a product.
BertConfig read_config(const ModelConfig& config) {
  BertConfig c;
  c.facts.num_layers = config.get_int("num_hidden_layers", 1, 1000);
  c.facts.hidden_size = config.get_int("hidden_size", 1, 1 << 17);
  c.facts.vocab_size = config.get_int("vocab_size", 1, 1 << 28);
  c.facts.max_length = config.get_int("max_position_embeddings", 1, 1 << 24);
  c.facts.type_vocab_size = config.get_int("type_vocab_size", 1, 1 << 20, 2);
  c.heads = config.get_int("num_attention_heads", 1, 1 << 16);
  c.intermediate_size = config.get_int("intermediate_size", 1, 1 << 20);
  c.epsilon = config.get_number("layer_norm_eps", 0, 1, 1e-12);
  c.activation = parse_activation(config.get_string("hidden_act", "gelu"), config.origin());
  if (c.facts.hidden_size % c.heads != 0) {
    throw Error(ErrorCode::corrupt_checkpoint,
                config.origin() + ": hidden_size " + std::to_string(c.facts.hidden_size) +
                    " is no multiple of num_attention_heads " + std::to_string(c.heads));
  }
  const std::string positions = config.get_string("position_embedding_type", "absolute");
  if (positions != "absolute" || config.get_bool("is_decoder", false)) {
    throw Error(ErrorCode::unsupported,
                config.origin() +
                    ": only BERT encoders with absolute positions are supported "
                    "(position_embedding_type \"" +
                    positions + "\")");
  }
  return c;
}

struct BertLayer {
  Linear query_key_value, attention_output, up, down;
  LayerNorm attention_norm, output_norm;
};

BertLayer load_layer(const Weights& weights, const BertConfig& c, std::int64_t index) {
  const std::int64_t d = c.facts.hidden_size, inner = c.intermediate_size;
  const std::string at_layer = "encoder.layer." + std::to_string(index) + ".";
  auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in) {
    return Linear(weights.get(at_layer + name + ".weight", {out, in}),
                  weights.get(at_layer + name + ".bias", {out}));
  };
  auto norm = [&](const std::string& name) {
    return LayerNorm(weights.get(at_layer + name + ".weight", {d}),
                     weights.get(at_layer + name + ".bias", {d}), c.epsilon);
  };
  auto joined = [&](const std::string& part, bool bias) {  // one product instead of three
    std::vector<at::Tensor> parts;
    for (const char* which : {"query", "key", "value"}) {
      const std::string name = at_layer + "attention.self." + which + part;
      parts.push_back(bias ? weights.get(name, {d}) : weights.get(name, {d, d}));
    }
    return at::cat(parts);
  };
  return {.query_key_value = Linear(joined(".weight", false), joined(".bias", true)),
          .attention_output = linear("attention.output.dense", d, d),
          .up = linear("intermediate.dense", inner, d),
          .down = linear("output.dense", d, inner),
          .attention_norm = norm("attention.output.LayerNorm"),
          .output_norm = norm("output.LayerNorm")};
}

class Bert final : public Transformer {
 public:
  Bert(const BertConfig& config, const Weights& weights) : config_(config) {
    const std::int64_t d = config.facts.hidden_size;
    words_ =
        Embedding(weights.get("embeddings.word_embeddings.weight", {config.facts.vocab_size, d}));
    positions_ = Embedding(
        weights.get("embeddings.position_embeddings.weight", {config.facts.max_length, d}));
    types_ = Embedding(
        weights.get("embeddings.token_type_embeddings.weight", {config.facts.type_vocab_size, d}));
    norm_ = LayerNorm(weights.get("embeddings.LayerNorm.weight", {d}),
                      weights.get("embeddings.LayerNorm.bias", {d}), config.epsilon);
    for (std::int64_t i = 0; i < config.facts.num_layers; ++i)
      layers_.push_back(load_layer(weights, config, i));
  }

  const TransformerFacts& facts() const override { return config_.facts; }

  HiddenStates forward(const PackedBatch& batch, bool all_hidden_states) const override {
    HiddenStates states;
    at::Tensor x = words_(batch.ids);
    x.add_(batch.type_ids.defined() ? types_(batch.type_ids) : types_.row(0))
        .add_(positions_(batch.positions));
    x = norm_(x);
    for (const BertLayer& layer : layers_) {
      if (all_hidden_states) states.all.push_back(x);
      at::Tensor mixed = self_attention(layer.query_key_value(x), batch.groups, config_.heads);
      x = layer.attention_norm(layer.attention_output(mixed).add_(x));
      x = layer.output_norm(layer.down(layer.up(x, config_.activation)).add_(x));
    }
    if (all_hidden_states) states.all.push_back(x);
    states.last = x;
    return states;
  }

 private:
  const BertConfig config_;
  Embedding words_, positions_, types_;
  LayerNorm norm_;
  std::vector<BertLayer> layers_;
};

}  // namespace

std::unique_ptr<Transformer> load_bert(const ModelConfig& config, const Checkpoint& checkpoint,
                                       at::ScalarType dtype, c10::Device device) {
  const BertConfig c = read_config(config);
  const Weights weights(checkpoint, {"", "bert."}, "embeddings.word_embeddings.weight", dtype,
                        device);
  return std::make_unique<Bert>(c, weights);
}

}  // namespace gpumcp::gpu_runtime
