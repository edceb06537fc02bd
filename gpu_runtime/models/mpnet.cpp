#include "gpu_runtime/models/mpnet.h"

#include "gpu_runtime/models/encoder.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_mpnet(const ModelConfig& config, const Checkpoint& checkpoint,
                                        at::ScalarType dtype, c10::Device device) {
  EncoderConfig c = read_encoder_config(config);
  c.names.prefix = "mpnet.";
  c.head = classifier_head();
  c.names.query = "attention.attn.q";
  c.names.key = "attention.attn.k";
  c.names.value = "attention.attn.v";
  c.names.attention_output = "attention.attn.o";
  c.names.attention_norm = "attention.LayerNorm";
  c.relative_buckets = config.get_int("relative_attention_num_buckets", 4, 1 << 16, 32);
  skip_padding_positions(config, c);
  return load_encoder(std::move(c), checkpoint, dtype, device);
}

}  // namespace gpumcp::gpu_runtime
