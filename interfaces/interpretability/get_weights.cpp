// get_weights: what the model's tensors are, read from its files; nothing is loaded for it.
#include <ATen/ops/isfinite.h>

#include <algorithm>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/error.h"
#include "interfaces/interpretability/interpretability.h"
#include "interfaces/result_size.h"
#include "interfaces/tensor_io.h"

namespace gpumcp::interfaces {
namespace {

namespace rt = gpu_runtime;

struct Weight {
  std::string name;
  std::vector<int64_t> shape;
  std::string dtype;
  std::optional<double> mean, std, norm, max;
};
GPUMCP_DESCRIBE_DOC(Weight, (name, "As in its file."), (shape, "Its dimensions."),
                    (dtype, "Type in its file."), (mean, "Mean."), (std, "Standard deviation."),
                    (norm, "Euclidean length."), (max, "The largest size of a value."))

struct WeightList {
  int64_t count;
  std::vector<Weight> weights;
  std::optional<int64_t> next;
  std::optional<std::string> uri;
};
GPUMCP_DESCRIBE_DOC(WeightList, (count, "Tensors whose name has `name` in it."),
                    (weights, "Up to 4 of them, in the files' order."),
                    (next, "`skip` for the next ones."),
                    (uri, "With `keep`: names the tensor for other tools."))

constexpr size_t kWeightsShown = 4;
constexpr uint64_t kMaxKept = uint64_t{256} << 20;

mcp::WithContent<WeightList> get_weights(const Subject& subject, const std::string& name,
                                         int64_t skip, bool keep) {
  const rt::Checkpoint checkpoint = rt::Checkpoint::open(subject.model.path().require());
  std::vector<const rt::Checkpoint::Entry*> found;
  for (const auto& entry : checkpoint.tensors()) {
    if (entry.info->name == name) {  // exactly this one
      found = {&entry};
      break;
    }
    if (entry.info->name.find(name) != std::string::npos) found.push_back(&entry);
  }
  if (found.empty()) {
    throw ToolError("arguments.name: no tensor of " + subject.name + " has \"" +
                    cut_utf8(name, 100) + "\" in its name; one is " +
                    checkpoint.tensors().front().info->name);
  }
  if (keep && found.size() != 1) {
    throw ToolError("arguments.keep: " + std::to_string(found.size()) +
                    " tensors have that in their names: give one whole name");
  }
  WeightList out{.count = static_cast<int64_t>(found.size()), .weights = {}};
  std::vector<mcp::ContentBlock> content;
  for (size_t i = static_cast<size_t>(skip); i < found.size(); ++i) {
    if (out.weights.size() == kWeightsShown) {
      out.next = static_cast<int64_t>(i);
      break;
    }
    const rt::TensorInfo& info = *found[i]->info;
    const at::Tensor tensor = rt::to_tensor({info.dtype, info.shape, found[i]->data(), nullptr});
    Weight weight{
        .name = info.name, .shape = info.shape, .dtype = std::string(rt::to_string(info.dtype))};
    if (at::isFloatingType(tensor.scalar_type()) && tensor.numel() > 0) {
      const at::Tensor wide = tensor.to(at::kFloat);
      weight.mean = shown(wide.mean(at::kDouble).item<double>());
      weight.std = shown(wide.to(at::kDouble).std(false).item<double>());
      weight.norm = shown(wide.to(at::kDouble).norm().item<double>());
      weight.max = shown(wide.abs().max().item<double>());
    }
    if (keep) {
      if (info.nbytes > kMaxKept) {
        throw ToolError(info.name + " has " + std::to_string(info.nbytes) +
                        " bytes, more than can be kept (" + std::to_string(kMaxKept) + ")");
      }
      const KeptTensor kept = keep_tensor(tensor, info.name, "weight of " + subject.name);
      out.uri = kept.uri;
      content.push_back(link_to(kept));
    }
    out.weights.push_back(std::move(weight));
  }
  fit_result(out, [&] {  // long names, many dimensions: fewer a call
    if (out.weights.size() < 2) return false;
    out.weights.pop_back();
    out.next = skip + static_cast<int64_t>(out.weights.size());
    return true;
  });
  return {std::move(out), std::move(content)};
}

}  // namespace

void expose_get_weights(Interface& interface, const Subject& subject) {
  interface.expose(
      {.name = "get_weights",
       .description = "Look at the weights of the language model " + subject.name +
                      " by name: shapes, types, mean, standard deviation, norm, and one of them "
                      "as a tensor by uri. Reads its files; needs no GPU.",
       .annotations = tensor_tool("Weights")},
      [subject](const std::string& name, int64_t skip, bool keep) {
        return get_weights(subject, name, skip, keep);
      },
      arg("name", "A part of the tensors' names, as \"layers.3.mlp\"; left out: all.", ""),
      arg("skip", "Leave out so many.", int64_t{0}).minimum(0),
      arg("keep", "Keep the tensor as an artifact; `name` must name one.", false));
}

}  // namespace gpumcp::interfaces
