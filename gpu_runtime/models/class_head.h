#pragma once

// The head of a ...ForSequenceClassification, as cross-encoders (rerankers) have one: scores of a
// few labels from the token that stands for the text. Immutable; used on the model's owner thread.
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/layers/linear.h"
#include "gpu_runtime/model_config.h"

namespace gpumcp::gpu_runtime {

// What a family calls its layers, less ".weight" and ".bias".
struct ClassHeadNames {
  std::string dense;  // hidden to hidden, before the labels; "": there is none
  Activation between = Activation::tanh;
  std::string labels;
  bool bias = true;
};

// How many labels config.json says that the model scores; 0 where it names no
// ...ForSequenceClassification.
std::int64_t count_labels(const ModelConfig& config);

class ClassHead {
 public:
  ClassHead(const Checkpoint& checkpoint, const ClassHeadNames& names, std::int64_t hidden_size,
            std::int64_t labels, at::ScalarType dtype, c10::Device device);
  // [texts, hidden_size] to float32 [texts, labels].
  at::Tensor operator()(const at::Tensor& hidden) const;

 private:
  std::optional<Linear> dense_;
  Activation between_;
  Linear labels_;
};

}  // namespace gpumcp::gpu_runtime
