#pragma once

// An architecture with its weights on a device. One file a family (models/bert.cpp, …), found by
// model_type in models/registry.h. forward() runs on the one thread that owns the model, inside
// c10::InferenceMode; the facts are constants, readable from any thread.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "gpu_runtime/kv_cache.h"
#include "gpu_runtime/packing.h"

namespace gpumcp::gpu_runtime {

struct TransformerFacts {
  std::int64_t num_layers = 0, hidden_size = 0, vocab_size = 0;
  std::int64_t max_length = 0;       // tokens in one text
  std::int64_t type_vocab_size = 0;  // 0: token types mean nothing
  CacheShape cache;                  // empty: cannot continue a text
  TapFacts taps;                     // none: the layers cannot be read or changed
  AdapterFacts adapters;             // none: it takes no adapters
  std::int64_t labels = 0;           // that a head for classes scores; 0: there is no such head
  bool last_token_scored = false;    // it reads a text's last token, not its first
};

// [tokens, hidden_size] each. `all` holds the embeddings and then each layer's output, when asked
// for. last is undefined where the batch asked for fewer layers than there are.
struct HiddenStates {
  at::Tensor last;
  std::vector<at::Tensor> all;
};

class Transformer {
 public:
  virtual ~Transformer() = default;
  virtual const TransformerFacts& facts() const = 0;
  // Ids, types and lengths were checked against facts() before.
  virtual HiddenStates forward(const PackedBatch& batch, bool all_hidden_states) const = 0;
  // The scores of every next token, [tokens, vocab_size] in float32, from last hidden states.
  // Undefined: the model has no such head.
  virtual at::Tensor logits(const at::Tensor& hidden) const;
  // The scores of facts().labels classes, float32 [texts, labels], from the last hidden state of
  // the token that stands for each text. Undefined: the model has no such head.
  virtual at::Tensor class_scores(const at::Tensor& hidden) const;
  // What comes between the last layer and the head; of a model with taps.
  virtual at::Tensor final_norm(const at::Tensor& hidden) const;
};

}  // namespace gpumcp::gpu_runtime
