// describe_tensor: what a tensor holds, in numbers that fit a glance.
#include <ATen/ops/isfinite.h>

#include <cmath>

#include "gpu_runtime/runtime.h"
#include "interfaces/result_size.h"
#include "interfaces/tensor_io.h"
#include "interfaces/tensors/tensors.h"

namespace gpumcp::interfaces {
namespace {

struct TensorDescription {
  std::string name;
  std::optional<std::string> about;
  std::vector<int64_t> shape;
  std::string dtype;
  int64_t count, zeros, not_finite;
  std::optional<double> min, max, mean, std, norm, p5, median, p95;
  std::vector<std::optional<double>> preview;
};
GPUMCP_DESCRIBE_DOC(TensorDescription, (name, "What the tool that made it called it."),
                    (about, "How it was made, with the meaning of its dimensions."),
                    (shape, "Its dimensions."), (dtype, "Type of its values."),
                    (count, "How many values."), (zeros, "How many are exactly 0."),
                    (not_finite, "How many are NaN or infinite; what follows is of the others."),
                    (min, "Least."), (max, "Largest."), (mean, "Mean."),
                    (std, "Standard deviation (divided by count)."), (norm, "Euclidean length."),
                    (p5, "5th percentile."), (median, "50th percentile."),
                    (p95, "95th percentile."), (preview, "The first 6 values; null: not finite."))

constexpr size_t kAboutBytes = 200;

// As numpy.percentile: linear between the two values around it. `sorted` is not empty.
double percentile(const at::Tensor& sorted, double p) {
  const double* values = sorted.const_data_ptr<double>();
  const double at = p / 100 * static_cast<double>(sorted.numel() - 1);
  const auto low = static_cast<int64_t>(std::floor(at));
  const int64_t high = std::min(low + 1, sorted.numel() - 1);
  return values[low] + (values[high] - values[low]) * (at - static_cast<double>(low));
}

TensorDescription describe(const TensorRef& given) {
  const std::string& uri = given.uri();
  const at::Tensor& tensor = given.tensor();
  const auto kept = gpu_runtime::Runtime::current().artifacts().get(
      uri.substr(0, uri.find('?')), gpu_runtime::CallScope::current_limits().caller);
  TensorDescription out{.name = cut_text(kept->name, 80, 80),
                        .shape = tensor.sizes().vec(),
                        .dtype = gpu_runtime::dtype_name(tensor),
                        .count = tensor.numel(),
                        .zeros = 0,
                        .not_finite = 0,
                        .preview = preview_of(tensor)};
  if (!kept->description.empty()) out.about = cut_text(kept->description, kAboutBytes, kAboutBytes);
  at::Tensor all = tensor.to(at::kDouble).flatten();
  all = all.masked_select(at::isfinite(all));
  out.not_finite = out.count - all.numel();
  if (all.numel() == 0) return out;
  out.zeros = all.eq(0).sum().item<int64_t>();
  const at::Tensor sorted = std::get<0>(all.sort()).contiguous();
  out.min = shown(sorted.const_data_ptr<double>()[0]);
  out.max = shown(sorted.const_data_ptr<double>()[all.numel() - 1]);
  out.mean = shown(all.mean().item<double>());
  out.std = shown(all.std(/*unbiased=*/false).item<double>());
  out.norm = shown(all.norm().item<double>());
  out.p5 = shown(percentile(sorted, 5));
  out.median = shown(percentile(sorted, 50));
  out.p95 = shown(percentile(sorted, 95));
  return out;
}

}  // namespace

void expose_describe_tensor(Interface& interface) {
  interface.expose(
      {.name = "describe_tensor",
       .description = "Describe a tensor that another tool kept: shape, type, range, mean, "
                      "standard deviation, percentiles, zeros, NaN, and how it was made.",
       .annotations = tensor_tool("Describe a tensor")},
      [](const TensorRef& tensor) { return describe(tensor); },
      arg("tensor", "A gpumcp://artifacts/ URI; ?slice=0:10 behind it takes a part."));
}

}  // namespace gpumcp::interfaces
