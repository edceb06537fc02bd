#include "gpu_runtime/models/gemma.h"

#include <cmath>

#include "gpu_runtime/models/activation.h"
#include "gpu_runtime/models/decoder.h"
#include "gpu_runtime/models/rope_config.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::int64_t kManyTokens = std::int64_t{1} << 40;

// What Gemma 2 and 3 share; caps are what an absent key means (a null means none).
DecoderConfig read_config(const ModelConfig& config, double attention_cap, double logit_cap) {
  DecoderConfig c = read_decoder_config(config, 256);
  c.activation = parse_activation(
      config.get_string("hidden_activation", config.get_string("hidden_act", "gelu_pytorch_tanh")),
      config.origin());
  c.norm = RmsNormStyle::gemma;
  c.norms_behind = c.scale_embeddings = true;
  c.tied = config.get_bool("tie_word_embeddings", true);
  c.qkv_bias = c.output_bias = config.get_bool("attention_bias", false);
  c.attention.scale = 1 / std::sqrt(config.get_number("query_pre_attn_scalar", 1e-6, 1e9, 256));
  auto cap = [&](const char* key, double absent) {
    return config.get_number(key, 1e-6, 1e9, config.json().contains(key) ? 0 : absent);
  };
  c.attention.soft_cap = cap("attn_logit_softcapping", attention_cap);
  c.logit_soft_cap = cap("final_logit_softcapping", logit_cap);
  return c;
}

}  // namespace

std::unique_ptr<Transformer> load_gemma2(const ModelConfig& config, const Checkpoint& checkpoint,
                                         at::ScalarType dtype, c10::Device device) {
  DecoderConfig c = read_config(config, 50, 30);
  c.ropes = {read_rope(config)};
  const std::int64_t window = config.get_int("sliding_window", 1, kManyTokens, 4096);
  const auto sliding = read_sliding_layers(config, c.facts.num_layers);
  for (std::size_t i = 0; i < c.layers.size(); ++i) {
    if (sliding ? (*sliding)[i] : i % 2 == 0) c.layers[i].window = window;
  }
  return load_decoder(std::move(c), checkpoint, dtype, device);
}

// A multimodal folder ("gemma3") keeps the text part's keys under text_config.
std::unique_ptr<Transformer> load_gemma3(const ModelConfig& outer, const Checkpoint& checkpoint,
                                         at::ScalarType dtype, c10::Device device) {
  const ModelConfig config = outer.has("text_config") ? outer.get_object("text_config") : outer;
  DecoderConfig c = read_config(config, 0, 0);
  c.query_key_norm = true;
  c.ropes = {read_layer_rope(config, "sliding_attention"),
             read_layer_rope(config, "full_attention")};
  std::int64_t window = config.get_int("sliding_window", 1, kManyTokens, 4096);
  if (config.get_bool("use_bidirectional_attention", false)) {
    c.attention.causal = false;
    c.facts.cache = {};  // earlier tokens change when later ones come: nothing to keep
    window = window / 2 + 1;
  }
  const auto every = static_cast<std::size_t>(
      config.get_int("sliding_window_pattern", 1, 1000, 6));  // each so many-th layer is full
  const auto sliding = read_sliding_layers(config, c.facts.num_layers);
  for (std::size_t i = 0; i < c.layers.size(); ++i) {
    const bool slides = sliding ? (*sliding)[i] : (i + 1) % every != 0;
    c.layers[i] = {.window = slides ? window : 0, .rope = slides ? std::size_t{0} : 1};
  }
  return load_decoder(std::move(c), checkpoint, dtype, device);
}

}  // namespace gpumcp::gpu_runtime
