#include "gpu_runtime/models/llama.h"

#include "gpu_runtime/models/activation.h"
#include "gpu_runtime/models/decoder.h"
#include "gpu_runtime/models/rope_config.h"

namespace gpumcp::gpu_runtime {
namespace {

DecoderConfig read_config(const ModelConfig& config) {
  DecoderConfig c = read_decoder_config(config);
  c.activation = parse_activation(config.get_string("hidden_act", "silu"), config.origin());
  c.tied = config.get_bool("tie_word_embeddings", false);
  c.ropes = {read_rope(config)};
  return c;
}

}  // namespace

std::unique_ptr<Transformer> load_llama(const ModelConfig& config, const Checkpoint& checkpoint,
                                        at::ScalarType dtype, c10::Device device) {
  DecoderConfig c = read_config(config);
  c.qkv_bias = c.output_bias = config.get_bool("attention_bias", false);
  c.mlp_bias = config.get_bool("mlp_bias", false);
  return load_decoder(std::move(c), checkpoint, dtype, device);
}

std::unique_ptr<Transformer> load_mistral(const ModelConfig& config, const Checkpoint& checkpoint,
                                          at::ScalarType dtype, c10::Device device) {
  DecoderConfig c = read_config(config);
  // Absent is not null here: the first Mistral had a window of 4096 and need not say so.
  const std::int64_t usual = config.json().contains("sliding_window") ? 0 : 4096;
  const std::int64_t window = config.get_int("sliding_window", 1, std::int64_t{1} << 40, usual);
  for (DecoderLayerConfig& layer : c.layers) layer.window = window;
  return load_decoder(std::move(c), checkpoint, dtype, device);
}

}  // namespace gpumcp::gpu_runtime
