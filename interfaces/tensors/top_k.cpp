// top_k: the largest values of a tensor with their places, or its rows nearest to a vector.
#include "interfaces/tensor_io.h"
#include "interfaces/tensors/tensors.h"

namespace gpumcp::interfaces {
namespace {

struct Place {
  std::vector<int64_t> index;
  double value;
};
GPUMCP_DESCRIBE_DOC(Place, (index, "One for each dimension, from 0; of a row alone with `query`."),
                    (value, "The value there, or the row's cosine with `query`."))

struct TopK {
  std::vector<int64_t> shape;
  std::vector<Place> top;
};
GPUMCP_DESCRIBE_DOC(TopK, (shape, "Of the tensor."), (top, "Best first."))

constexpr int64_t kMost = 20;

TopK top_k(const TensorRef& given, int64_t k, const std::string& by,
           const std::optional<TensorRef>& query) {
  const at::Tensor tensor = query ? rows_of(given, "tensor") : numbers_of(given, "tensor", 1, 8);
  at::Tensor values = tensor.flatten();
  if (query) {
    const at::Tensor direction = numbers_of(*query, "query", 1, 1);
    if (direction.size(0) != tensor.size(1)) {
      throw ToolError("arguments.query: its " + std::to_string(direction.size(0)) +
                      " values do not fit rows of " + std::to_string(tensor.size(1)));
    }
    const at::Tensor norms = tensor.norm(2, 1) * direction.norm();
    values = tensor.matmul(direction) / norms.where(norms.gt(0), at::Scalar(1.0));
  }
  const at::Tensor key = by == "largest" ? values : by == "smallest" ? values.neg() : values.abs();
  // Stable, so that equal values stand in the tensor's order.
  const at::Tensor order = std::get<1>(key.sort(/*stable=*/true, 0, /*descending=*/true));
  TopK out{.shape = tensor.sizes().vec(), .top = {}};
  for (int64_t i = 0; i < std::min(k, order.size(0)); ++i) {
    int64_t at = order[i].item<int64_t>();
    Place place{.index = {}, .value = *shown(values[at].item<double>())};
    if (query) {
      place.index = {at};
    } else {
      for (int64_t d = tensor.dim() - 1; d >= 0; --d) {
        place.index.insert(place.index.begin(), at % tensor.size(d));
        at /= tensor.size(d);
      }
    }
    out.top.push_back(std::move(place));
  }
  return out;
}

}  // namespace

void expose_top_k(Interface& interface) {
  interface.expose(
      {.name = "top_k",
       .description = "Find the largest (smallest, largest in size) values of a tensor with their "
                      "indices; with `query`, the rows nearest to a vector by cosine.",
       .annotations = tensor_tool("Largest values of a tensor")},
      [](const TensorRef& tensor, int64_t k, const std::string& by,
         const std::optional<TensorRef>& query) { return top_k(tensor, k, by, query); },
      arg("tensor", "URI of the tensor."),
      arg("k", "How many.", int64_t{10}).minimum(1).maximum(kMost),
      arg("by", "largest, smallest, or magnitude (largest without its sign).", "largest")
          .one_of({"largest", "smallest", "magnitude"}),
      arg("query", "URI of a vector: rank the tensor's rows by cosine with it."));
}

}  // namespace gpumcp::interfaces
