// pca: the directions in which rows differ most.
#include <ATen/ops/linalg_svd.h>

#include "interfaces/picture.h"
#include "interfaces/tensor_io.h"
#include "interfaces/tensors/tensors.h"

namespace gpumcp::interfaces {
namespace {

struct Pca {
  std::vector<int64_t> shape;
  std::string components, projected, mean;
  std::vector<double> explained_variance, explained_ratio;
};
GPUMCP_DESCRIBE_DOC(Pca, (shape, "Rows and columns that went in."),
                    (components, "URI of the directions, [k, d], each of length 1."),
                    (projected, "URI of the rows in them, [n, k]."),
                    (mean, "URI of the rows' mean, [d], which was taken off."),
                    (explained_variance, "Of each direction (divided by n - 1)."),
                    (explained_ratio, "… as a part of all variance."))

mcp::WithContent<Pca> pca(const TensorRef& given, int64_t k, bool plot,
                          const std::optional<TensorRef>& labels) {
  const std::string& uri = given.uri();
  const at::Tensor rows = numbers_of(given, "tensor", 2, 2);
  const int64_t n = rows.size(0), most = std::min(n, rows.size(1));
  if (n < 2) throw ToolError("arguments.tensor: one row has no variance; give two or more");
  k = std::min(k, most);
  const at::Tensor mean = rows.mean(0);
  auto [u, s, vh] = at::linalg_svd(rows - mean, /*full_matrices=*/false);
  at::Tensor components = vh.narrow(0, 0, k);
  // A direction's sign means nothing: its largest value is made positive, so that it is always the
  // same.
  const at::Tensor largest = components.gather(1, components.abs().argmax(1, true));
  components = components * largest.sign();
  const at::Tensor projected = (rows - mean).matmul(components.t());
  const at::Tensor variance = s.square() / static_cast<double>(n - 1);
  const double all = variance.sum().item<double>();
  Pca out{.shape = rows.sizes().vec()};
  for (int64_t i = 0; i < k; ++i) {
    const double one = variance[i].item<double>();
    out.explained_variance.push_back(*shown(one));
    out.explained_ratio.push_back(*shown(all > 0 ? one / all : 0));
  }
  std::vector<mcp::ContentBlock> content;
  auto keep = [&](const at::Tensor& tensor, const char* name, const std::string& about) {
    const KeptTensor kept = keep_tensor(tensor.to(at::kFloat), name, about);
    content.push_back(link_to(kept));
    return kept.uri;
  };
  out.components = keep(components, "pca-components", "directions of " + uri + "; axes k, d");
  out.projected = keep(projected, "pca-projected", "rows of " + uri + "; axes n, k");
  out.mean = keep(mean, "pca-mean", "mean row of " + uri);
  if (plot && k >= 2) {
    const at::Tensor x = projected.select(1, 0).contiguous(),
                     y = projected.select(1, 1).contiguous();
    std::vector<int64_t> groups;
    if (labels) {
      groups = whole_numbers(*labels);
    }
    const auto count = static_cast<size_t>(n);
    content.push_back(scatter_image({x.const_data_ptr<double>(), count},
                                    {y.const_data_ptr<double>(), count}, groups, false));
  }
  return {std::move(out), std::move(content)};
}

}  // namespace

void expose_pca(Interface& interface) {
  interface.expose(
      {.name = "pca",
       .description = "Principal components of a tensor's rows: the directions of most variance, "
                      "the rows in them, and a scatter plot of the first two.",
       .annotations = tensor_tool("Principal components")},
      [](const TensorRef& tensor, int64_t k, bool plot, const std::optional<TensorRef>& labels) {
        return pca(tensor, k, plot, labels);
      },
      arg("tensor", "URI of rows [n, d]."),
      arg("k", "How many components.", int64_t{2}).minimum(1).maximum(16),
      arg("plot", "With a picture of the first two.", false),
      arg("labels",
          "URI of a whole number for each row (as cluster gives them): its "
          "colour in the picture."));
}

}  // namespace gpumcp::interfaces
