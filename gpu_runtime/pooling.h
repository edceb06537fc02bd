#pragma once

// From hidden states to one vector a text, as the model's own files say: pooling (several modes are
// concatenated), dense layers, L2 normalisation. Immutable after construction; used on the model's
// owner thread.
#include <ATen/core/Tensor.h>

#include <span>
#include <vector>

#include "gpu_runtime/layers/linear.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/packing.h"

namespace gpumcp::gpu_runtime {

class Pooling {
 public:
  // Reads the dense modules' weights. Errors as Checkpoint and Weights give them.
  Pooling(const SentenceTransformerConfig& config, std::int64_t hidden_size, at::ScalarType dtype,
          c10::Device device);

  // hidden is [tokens, d], packed as the groups say; returns [rows, dims()], float32. raw: without
  // the model's Normalize module.
  at::Tensor operator()(const at::Tensor& hidden, std::span<const LengthGroup> groups,
                        bool raw = false) const;

  std::int64_t dims() const { return dims_; }

 private:
  struct Dense {
    Linear linear;
    Activation activation;
  };
  std::vector<PoolingMode> modes_;
  std::vector<Dense> dense_;
  bool normalize_ = false;
  std::int64_t dims_ = 0;
};

}  // namespace gpumcp::gpu_runtime
