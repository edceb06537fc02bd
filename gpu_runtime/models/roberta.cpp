#include "gpu_runtime/models/roberta.h"

#include "gpu_runtime/models/encoder.h"

namespace gpumcp::gpu_runtime {

std::unique_ptr<Transformer> load_roberta(const ModelConfig& config, const Checkpoint& checkpoint,
                                          at::ScalarType dtype, c10::Device device) {
  EncoderConfig c = read_encoder_config(config);
  c.names.prefix = "roberta.";
  c.head = classifier_head();
  c.facts.type_vocab_size = config.get_int("type_vocab_size", 1, 1 << 20, 2);
  skip_padding_positions(config, c);
  return load_encoder(std::move(c), checkpoint, dtype, device);
}

}  // namespace gpumcp::gpu_runtime
