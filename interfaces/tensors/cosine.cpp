// cosine: how alike the rows of two tensors are.
#include "interfaces/tensor_io.h"
#include "interfaces/tensors/tensors.h"

namespace gpumcp::interfaces {
namespace {

struct Cosines {
  std::vector<int64_t> shape;
  std::optional<std::vector<std::vector<double>>> values;
  std::optional<std::string> uri;
  double min, max, mean;
};
GPUMCP_DESCRIBE_DOC(Cosines, (shape, "Rows of a by rows of b."),
                    (values, "All of them, where there are at most 48."), (uri, "Else the matrix."),
                    (min, "The least."), (max, "The largest."), (mean, "Their mean."))

constexpr int64_t kInline = 48;

// Rows of length 1; a row of zeros has no direction and stays.
at::Tensor directions(const at::Tensor& rows) {
  const at::Tensor norms = rows.norm(2, 1, true);
  return rows / norms.where(norms.gt(0), at::Scalar(1.0));
}

mcp::WithContent<Cosines> cosine(const TensorRef& a, const std::optional<TensorRef>& b) {
  const at::Tensor left = rows_of(a, "a");
  const at::Tensor right = b ? rows_of(*b, "b") : left;
  if (left.size(1) != right.size(1)) {
    throw ToolError("rows of " + std::to_string(left.size(1)) + " values (a) and of " +
                    std::to_string(right.size(1)) +
                    " (b) cannot be compared: both must come from the same layer or model");
  }
  const at::Tensor all = directions(left).matmul(directions(right).t()).clamp(-1, 1);
  Cosines out{.shape = all.sizes().vec(),
              .min = *shown(all.min().item<double>()),
              .max = *shown(all.max().item<double>()),
              .mean = *shown(all.mean().item<double>())};
  if (all.numel() > kInline) {
    const KeptTensor kept = keep_tensor(all.to(at::kFloat), "cosine", "cosine(a, b); axes a, b");
    out.uri = kept.uri;
    return {std::move(out), {link_to(kept)}};
  }
  out.values.emplace();
  for (int64_t i = 0; i < all.size(0); ++i) {
    std::vector<double> row;
    for (const auto& v : preview_of(all[i], kInline)) row.push_back(*v);
    out.values->push_back(std::move(row));
  }
  return {std::move(out)};
}

}  // namespace

void expose_cosine(Interface& interface) {
  interface.expose(
      {.name = "cosine",
       .description = "Cosine similarity of each row of one tensor with each row of another (of "
                      "itself if only one is given), -1 to 1. Vectors are one row.",
       .annotations = tensor_tool("Cosine similarity of tensors")},
      [](const TensorRef& a, const std::optional<TensorRef>& b) { return cosine(a, b); },
      arg("a", "URI of a vector or of rows [n, d]."),
      arg("b", "URI of a vector or of rows [m, d]."));
}

}  // namespace gpumcp::interfaces
