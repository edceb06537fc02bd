#include "gpu_runtime/layers/linear.h"

#include <ATen/core/List.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

namespace gpumcp::gpu_runtime {
namespace {

// torch's operators for prepared weights have no C++ header; they are reached through the
// dispatcher, by schema, and left alone where a build of torch has none (other processors, other
// versions).
using Pointwise = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                             std::string_view, c10::List<std::optional<at::Scalar>>,
                             std::optional<std::string_view>);
using Reorder = at::Tensor(const at::Tensor&, std::optional<std::int64_t>);

struct OneDnn {
  c10::TypedOperatorHandle<Pointwise> linear;
  c10::TypedOperatorHandle<Reorder> reorder;
};

std::optional<OneDnn> find_onednn() {
  auto& dispatcher = c10::Dispatcher::singleton();
  auto linear = dispatcher.findSchema({"mkldnn::_linear_pointwise", ""});
  auto reorder = dispatcher.findSchema({"mkldnn::_reorder_linear_weight", ""});
  if (!linear || !reorder || !linear->hasKernelForDispatchKey(c10::DispatchKey::MkldnnCPU))
    return std::nullopt;
  try {
    return OneDnn{linear->typed<Pointwise>(), reorder->typed<Reorder>()};
  } catch (const c10::Error&) {  // another signature than the one we know
    return std::nullopt;
  }
}

const std::optional<OneDnn>& onednn() {
  static const std::optional<OneDnn> found = find_onednn();
  return found;
}

// Whether oneDNN multiplies this type faster in its own order than torch does in the plain one. For
// bfloat16 that takes instructions for it; without them the product would be emulated.
bool has_own_order(const at::Tensor& weight) {
  if (!weight.is_cpu() || !onednn()) return false;
  if (weight.scalar_type() == at::kFloat) return true;
#ifdef __x86_64__
  return weight.scalar_type() == at::kBFloat16 && __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

// Only decides the weight's blocking; any other number of rows is right too.
constexpr std::int64_t kTypicalRows = 512;

}  // namespace

at::Tensor activate(const at::Tensor& x, Activation activation) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::gelu:
      return at::gelu(x);
    case Activation::gelu_tanh:
      return at::gelu(x, "tanh");
    case Activation::relu:
      return at::relu(x);
    case Activation::silu:
      return at::silu(x);
    case Activation::tanh:
      return at::tanh(x);
    case Activation::sigmoid:
      return at::sigmoid(x);
  }
  return x;
}

Linear::Linear(at::Tensor weight, at::Tensor bias)
    : weight_(std::move(weight)), bias_(std::move(bias)) {
  if (has_own_order(weight_)) {
    weight_ = onednn()->reorder.call(weight_, kTypicalRows);
    reordered_ = true;
  }
}

at::Tensor Linear::operator()(const at::Tensor& x, Activation activation) const {
  if (!reordered_) {
    return activate(at::linear(x, weight_, bias_.defined() ? std::optional(bias_) : std::nullopt),
                    activation);
  }
  const bool gelu = activation == Activation::gelu;  // fused behind the product
  at::Tensor y =
      onednn()->linear.call(x, weight_, bias_.defined() ? std::optional(bias_) : std::nullopt,
                            gelu ? "gelu" : "none", c10::List<std::optional<at::Scalar>>(),
                            gelu ? std::string_view("none") : std::string_view(""));
  return gelu ? y : activate(y, activation);
}

}  // namespace gpumcp::gpu_runtime
