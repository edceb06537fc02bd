#include "gpu_runtime/models/qwen.h"

#include "gpu_runtime/models/activation.h"
#include "gpu_runtime/models/decoder.h"
#include "gpu_runtime/models/rope_config.h"

namespace gpumcp::gpu_runtime {
namespace {

DecoderConfig read_config(const ModelConfig& config, std::int64_t head_dim) {
  DecoderConfig c = read_decoder_config(config, head_dim);
  c.activation = parse_activation(config.get_string("hidden_act", "silu"), config.origin());
  c.tied = config.get_bool("tie_word_embeddings", false);
  c.ropes = {read_rope(config)};
  // sliding_window counts only where use_sliding_window says so; then for the layers that
  // layer_types names, or for those from max_window_layers on.
  if (config.get_bool("use_sliding_window", false)) {
    const std::int64_t window = config.get_int("sliding_window", 1, std::int64_t{1} << 40, 4096);
    const auto first =
        static_cast<std::size_t>(config.get_int("max_window_layers", 0, 1 << 20, 28));
    const auto sliding = read_sliding_layers(config, c.facts.num_layers);
    for (std::size_t i = 0; i < c.layers.size(); ++i) {
      if (sliding ? (*sliding)[i] : i >= first) c.layers[i].window = window;
    }
  }
  return c;
}

}  // namespace

std::unique_ptr<Transformer> load_qwen2(const ModelConfig& config, const Checkpoint& checkpoint,
                                        at::ScalarType dtype, c10::Device device) {
  DecoderConfig c = read_config(config, 0);
  c.qkv_bias = true;
  return load_decoder(std::move(c), checkpoint, dtype, device);
}

std::unique_ptr<Transformer> load_qwen3(const ModelConfig& config, const Checkpoint& checkpoint,
                                        at::ScalarType dtype, c10::Device device) {
  DecoderConfig c = read_config(config, 128);
  c.qkv_bias = c.output_bias = config.get_bool("attention_bias", false);
  c.query_key_norm = true;
  return load_decoder(std::move(c), checkpoint, dtype, device);
}

}  // namespace gpumcp::gpu_runtime
