#include "gpu_runtime/models/class_head.h"

#include <algorithm>

#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {
namespace {

constexpr std::int64_t kMaxLabels = 1 << 16;
constexpr std::int64_t kLabelsWhenUnsaid = 2;  // transformers' default

Linear read_linear(const Weights& weights, const std::string& name, std::int64_t out,
                   std::int64_t in, bool bias) {
  at::Tensor weight = weights.get(name + ".weight", {out, in});
  return Linear(std::move(weight), bias ? weights.get(name + ".bias", {out}) : at::Tensor());
}

}  // namespace

std::int64_t count_labels(const ModelConfig& config) {
  const auto names = config.architectures();
  const bool classifies = std::ranges::any_of(
      names, [](const std::string& name) { return name.ends_with("ForSequenceClassification"); });
  if (!classifies) return 0;
  if (config.has("id2label"))
    return std::clamp<std::int64_t>(
        static_cast<std::int64_t>(config.get_object("id2label").json().size()), 1, kMaxLabels);
  return config.get_int("num_labels", 1, kMaxLabels, kLabelsWhenUnsaid);
}

ClassHead::ClassHead(const Checkpoint& checkpoint, const ClassHeadNames& names,
                     std::int64_t hidden_size, std::int64_t labels, at::ScalarType dtype,
                     c10::Device device)
    : between_(names.between) {
  const Weights weights(checkpoint, {""}, names.labels + ".weight", dtype, device);
  if (!names.dense.empty())
    dense_ = read_linear(weights, names.dense, hidden_size, hidden_size, true);
  labels_ = read_linear(weights, names.labels, labels, hidden_size, names.bias);
}

at::Tensor ClassHead::operator()(const at::Tensor& hidden) const {
  return labels_(dense_ ? (*dense_)(hidden, between_) : hidden).to(at::kFloat);
}

}  // namespace gpumcp::gpu_runtime
