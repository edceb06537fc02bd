#pragma once

// Tensors of a checkpoint as torch tensors on a device, each checked against the shape that the
// architecture wants, and read by weight_reader.h as the checkpoint's session says. Used by a
// model's constructor on the thread that loads.
#include <ATen/core/Tensor.h>

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/weight_reader.h"

namespace gpumcp::gpu_runtime {

// The torch type of a checkpoint's element type; Error(unsupported) where torch has none that we
// use.
at::ScalarType torch_dtype(Dtype dtype);
Dtype checkpoint_dtype(at::ScalarType type);

class Weights {
 public:
  // prefixes: tried in order before each name ("", "bert."); the first under which `probe` exists
  // is taken. Error(corrupt_checkpoint) when none is.
  Weights(Checkpoint checkpoint, std::initializer_list<std::string_view> prefixes,
          std::string_view probe, at::ScalarType dtype, c10::Device device);

  // Error(corrupt_checkpoint) names file, tensor, shape found and shape wanted; a dtype that is not
  // floating point is refused too.
  at::Tensor get(const std::string& name, std::initializer_list<std::int64_t> shape) const;
  bool has(const std::string& name) const;

  at::ScalarType dtype() const { return dtype_; }
  c10::Device device() const { return device_; }

 private:
  Checkpoint checkpoint_;
  std::string prefix_;
  at::ScalarType dtype_;
  c10::Device device_;
  std::shared_ptr<WeightSession> session_;
  std::unique_ptr<WeightReader> reader_;
};

// Numbers in all tensors together.
std::uint64_t count_parameters(const Checkpoint& checkpoint);

// "embeddings.LayerNorm.weight in /…/model.safetensors" for the first tensor that holds a NaN or an
// infinity; nothing when all are finite. Reads all weights: for the error path.
std::optional<std::string> find_non_finite_weight(const Checkpoint& checkpoint);

}  // namespace gpumcp::gpu_runtime
