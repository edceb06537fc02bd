#pragma once

// The decoder that Llama made common: rotary positions, RMS norms, grouped heads, a gated
// feed-forward block. Llama, Mistral, Qwen 2 and 3, Gemma 2 and 3 differ in what this description
// says; a family's file (llama.cpp, qwen.cpp, gemma.cpp) reads it from config.json, and a new one
// does the same.
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/layers/attention.h"
#include "gpu_runtime/layers/linear.h"
#include "gpu_runtime/layers/rms_norm.h"
#include "gpu_runtime/layers/rotary.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

struct DecoderLayerConfig {
  std::int64_t window = 0;  // as in AttentionConfig
  std::size_t rope = 0;     // index into DecoderConfig::ropes
};

struct DecoderConfig {
  TransformerFacts facts;
  AttentionConfig attention;  // the window is each layer's own
  std::int64_t intermediate_size = 0;
  Activation activation = Activation::silu;
  double epsilon = 1e-6;
  RmsNormStyle norm = RmsNormStyle::llama;
  bool qkv_bias = false, output_bias = false, mlp_bias = false;
  bool query_key_norm = false;  // an RMS norm of each head's query and key before they are turned
  bool norms_behind = false;  // Gemma: attention and feed-forward are normed before they are added
  bool scale_embeddings = false;  // Gemma: by the root of hidden_size
  double logit_soft_cap = 0;      // 0: none
  bool tied = false;              // the head is the table of embeddings
  std::vector<RopeConfig> ropes;
  std::vector<DecoderLayerConfig> layers;
};

// What all families call by the same keys; head_dim is config.json's, or `head_dim` where it has
// none (0: hidden_size / heads). One rope-less entry a layer; scale is 1 / sqrt(head_dim).
DecoderConfig read_decoder_config(const ModelConfig& config, std::int64_t head_dim = 0);

// "layer_types" as booleans (true: "sliding_attention"), or nothing when config.json has none.
std::optional<std::vector<bool>> read_sliding_layers(const ModelConfig& config,
                                                     std::int64_t num_layers);

std::unique_ptr<Transformer> load_decoder(DecoderConfig config, const Checkpoint& checkpoint,
                                          at::ScalarType dtype, c10::Device device);

}  // namespace gpumcp::gpu_runtime
