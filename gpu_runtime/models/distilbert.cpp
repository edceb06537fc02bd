#include "gpu_runtime/models/distilbert.h"

#include "gpu_runtime/models/activation.h"
#include "gpu_runtime/models/encoder.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_distilbert(const ModelConfig& config,
                                             const Checkpoint& checkpoint, at::ScalarType dtype,
                                             c10::Device device) {
  EncoderConfig c;
  c.names = {.prefix = "distilbert.",
             .layers = "transformer.layer.",
             .query = "attention.q_lin",
             .key = "attention.k_lin",
             .value = "attention.v_lin",
             .attention_output = "attention.out_lin",
             .attention_norm = "sa_layer_norm",
             .up = "ffn.lin1",
             .down = "ffn.lin2",
             .output_norm = "output_layer_norm"};
  c.head = {.dense = "pre_classifier", .between = Activation::relu, .labels = "classifier"};
  c.facts.labels = count_labels(config);
  c.facts.num_layers = config.get_int("n_layers", 1, 1000);
  c.facts.hidden_size = config.get_int("dim", 1, 1 << 17);
  c.facts.vocab_size = config.get_int("vocab_size", 1, 1 << 28);
  c.facts.max_length = config.get_int("max_position_embeddings", 1, 1 << 24);
  c.heads = config.get_int("n_heads", 1, 1 << 16);
  c.intermediate_size = config.get_int("hidden_dim", 1, 1 << 20);
  c.activation = parse_activation(config.get_string("activation", "gelu"), config.origin());
  check_heads(c, config.origin());
  return load_encoder(std::move(c), checkpoint, dtype, device);
}

}  // namespace gpumcp::gpu_runtime
