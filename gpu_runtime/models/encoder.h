#pragma once

// The encoder that BERT made common: learned positions, layer norms behind each sum, attention both
// ways. BERT, RoBERTa, DistilBERT and MPNet differ in what this description says; a family's file
// reads it from config.json, and a new one does the same.
#include <cstdint>
#include <memory>
#include <string>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/layers/linear.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/models/class_head.h"
#include "gpu_runtime/models/transformer.h"

namespace gpumcp::gpu_runtime {

// What a family calls its tensors, less ".weight" and ".bias".
struct EncoderNames {
  std::string prefix;                     // that a checkpoint may or may not put before all
  std::string layers = "encoder.layer.";  // then the number and a dot
  std::string query = "attention.self.query", key = "attention.self.key",
              value = "attention.self.value", attention_output = "attention.output.dense",
              attention_norm = "attention.output.LayerNorm", up = "intermediate.dense",
              down = "output.dense", output_norm = "output.LayerNorm";
};

struct EncoderConfig {
  TransformerFacts facts;  // type_vocab_size 0: there is no table of token types
  std::int64_t heads = 0, intermediate_size = 0;
  std::int64_t first_position = 0;    // rows of the table of positions that stand unused before it
  std::int64_t relative_buckets = 0;  // MPNet: rows of the bias by relative position; 0: none
  double epsilon = 1e-12;
  Activation activation = Activation::gelu;
  EncoderNames names;
  ClassHeadNames head;  // read where facts.labels says that there is one
};

// The keys that BERT, RoBERTa and MPNet share. Refuses decoders and positions that are not learned.
EncoderConfig read_encoder_config(const ModelConfig& config);
// Error(corrupt_checkpoint) when the heads do not divide the hidden size.
void check_heads(const EncoderConfig& config, const std::string& origin);

// RoBERTa's and MPNet's head for classes.
ClassHeadNames classifier_head();

// RoBERTa and MPNet count positions from behind the padding id: fewer tokens fit than
// max_position_embeddings says.
void skip_padding_positions(const ModelConfig& config, EncoderConfig& encoder);

std::unique_ptr<Transformer> load_encoder(EncoderConfig config, const Checkpoint& checkpoint,
                                          at::ScalarType dtype, c10::Device device);

}  // namespace gpumcp::gpu_runtime
