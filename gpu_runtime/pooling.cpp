#include "gpu_runtime/pooling.h"

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {
namespace {

// texts is [count, length, d].
at::Tensor pool(const at::Tensor& texts, PoolingMode mode) {
  const std::int64_t length = texts.size(1);
  switch (mode) {
    case PoolingMode::cls:
      return texts.select(1, 0);
    case PoolingMode::last_token:
      return texts.select(1, length - 1);
    case PoolingMode::max:
      return texts.amax(1);
    case PoolingMode::mean:
      return texts.mean(1);
    case PoolingMode::mean_sqrt_len:
      return texts.sum(1).div_(std::sqrt(static_cast<double>(length)));
    case PoolingMode::weighted_mean: {  // later tokens count more: 1, 2, 3, …
      at::Tensor weight = at::arange(1, length + 1, texts.options());
      return at::matmul(weight / weight.sum(), texts);
    }
  }
  throw Error(ErrorCode::internal, "a pooling mode without a formula");
}

Activation dense_activation(const DenseModule& module) {
  if (module.activation.empty() || module.activation == "Identity") return Activation::none;
  if (module.activation == "Tanh") return Activation::tanh;
  if (module.activation == "ReLU") return Activation::relu;
  if (module.activation == "GELU") return Activation::gelu;
  if (module.activation == "SiLU") return Activation::silu;
  if (module.activation == "Sigmoid") return Activation::sigmoid;
  throw Error(ErrorCode::unsupported, module.folder.string() + ": the activation " +
                                          module.activation +
                                          " of a dense module is not supported");
}

}  // namespace

Pooling::Pooling(const SentenceTransformerConfig& config, std::int64_t hidden_size,
                 at::ScalarType dtype, c10::Device device)
    : modes_(config.pooling), normalize_(config.normalize) {
  if (modes_.empty()) modes_.push_back(PoolingMode::mean);
  dims_ = hidden_size * static_cast<std::int64_t>(modes_.size());
  for (const DenseModule& module : config.dense) {
    if (module.in_features != dims_) {
      throw Error(ErrorCode::corrupt_checkpoint,
                  module.folder.string() + ": the dense module takes " +
                      std::to_string(module.in_features) + " numbers, but " +
                      std::to_string(dims_) + " come");
    }
    const Weights weights(Checkpoint::open(module.folder), {""}, "linear.weight", dtype, device);
    at::Tensor bias =
        module.bias ? weights.get("linear.bias", {module.out_features}) : at::Tensor();
    dense_.push_back(
        {Linear(weights.get("linear.weight", {module.out_features, module.in_features}), bias),
         dense_activation(module)});
    dims_ = module.out_features;
  }
}

at::Tensor Pooling::operator()(const at::Tensor& hidden, std::span<const LengthGroup> groups,
                               bool raw) const {
  std::vector<at::Tensor> rows;
  std::int64_t begin = 0;
  for (const LengthGroup& group : groups) {
    const std::int64_t tokens = group.count * group.length;
    at::Tensor texts =
        hidden.narrow(0, begin, tokens).view({group.count, group.length, hidden.size(1)});
    begin += tokens;
    std::vector<at::Tensor> parts;
    for (PoolingMode mode : modes_) parts.push_back(pool(texts, mode));
    rows.push_back(parts.size() == 1 ? parts[0] : at::cat(parts, 1));
  }
  at::Tensor pooled = rows.size() == 1 ? rows[0] : at::cat(rows);
  for (const Dense& layer : dense_) pooled = layer.linear(pooled.contiguous(), layer.activation);
  pooled = pooled.to(at::kFloat);
  if (normalize_ && !raw) pooled = pooled / pooled.norm(2, 1, true).clamp_min(1e-12);
  return pooled.contiguous();
}

}  // namespace gpumcp::gpu_runtime
