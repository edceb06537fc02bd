// plot_tensor: a small picture of a tensor.
#include <ATen/ops/adaptive_avg_pool2d.h>
#include <ATen/ops/arange.h>

#include "interfaces/picture.h"
#include "interfaces/tensor_io.h"
#include "interfaces/tensors/tensors.h"

namespace gpumcp::interfaces {
namespace {

struct Plot {
  std::string kind, note;
  std::vector<int64_t> shape;
  double low, high;
};
GPUMCP_DESCRIBE_DOC(Plot, (kind, "heatmap, scatter or line."), (note, "How to read the picture."),
                    (shape, "Of the tensor."),
                    (low, "What the least colour, or the bottom, stands for."),
                    (high, "What the strongest colour, or the top, stands for."))

std::span<const double> values_of(const at::Tensor& contiguous) {
  return {contiguous.const_data_ptr<double>(), static_cast<size_t>(contiguous.numel())};
}

mcp::WithContent<Plot> heat_map(const at::Tensor& tensor) {
  at::Tensor cells = tensor.dim() == 1 ? tensor.unsqueeze(0) : tensor;
  std::string note = "Rows from the top, columns from the left; ";
  const int64_t rows = std::min(cells.size(0), kMaxCells),
                columns = std::min(cells.size(1), kMaxCells);
  if (rows < cells.size(0) || columns < cells.size(1)) {
    cells = at::adaptive_avg_pool2d(cells.unsqueeze(0), {rows, columns}).squeeze(0);
    note += "means of neighbours; ";
  }
  cells = cells.contiguous();
  const HeatMap map = draw_heat_map(values_of(cells), rows, columns);
  note += map.both_signs ? "blue below 0, red above." : "white is least, dark blue most.";
  return {{.kind = "heatmap",
           .note = note,
           .shape = tensor.sizes().vec(),
           .low = *shown(map.low),
           .high = *shown(map.high)},
          {heat_map_image(map)}};
}

mcp::WithContent<Plot> plot(const TensorRef& given, const std::string& kind,
                            const std::optional<TensorRef>& labels) {
  const at::Tensor tensor = numbers_of(given, "tensor", 1, 2);
  if (kind == "heatmap") return heat_map(tensor);
  at::Tensor x, y;
  if (kind == "line") {
    if (tensor.dim() != 1)
      throw ToolError(
          "arguments.tensor: a line needs a vector; ?slice=0 behind the uri takes a row");
    x = at::arange(tensor.size(0), at::kDouble);
    y = tensor;
  } else {
    if (tensor.dim() != 2 || tensor.size(1) < 2)
      throw ToolError(
          "arguments.tensor: a scatter needs rows of two or more values; pca makes them");
    x = tensor.select(1, 0).contiguous();
    y = tensor.select(1, 1).contiguous();
  }
  std::vector<int64_t> groups;
  if (labels) groups = whole_numbers(*labels);
  y = y.contiguous();
  return {{.kind = kind,
           .note = kind == "line" ? "Index from the left, value upwards."
                                  : "First column from the left, second upwards.",
           .shape = tensor.sizes().vec(),
           .low = *shown(y.min().item<double>()),
           .high = *shown(y.max().item<double>())},
          {scatter_image(values_of(x), values_of(y), groups, kind == "line")}};
}

}  // namespace

void expose_plot_tensor(Interface& interface) {
  interface.expose(
      {.name = "plot_tensor",
       .description = "Draw a tensor as a small PNG: a heat map of a matrix, a scatter plot of "
                      "rows' first two columns, or a line.",
       .annotations = tensor_tool("Plot a tensor")},
      [](const TensorRef& tensor, const std::string& kind, const std::optional<TensorRef>& labels) {
        return plot(tensor, kind, labels);
      },
      arg("tensor", "URI of a matrix or vector; ?slice=0 behind it takes a part."),
      arg("kind", "heatmap, scatter or line.", "heatmap").one_of({"heatmap", "scatter", "line"}),
      arg("labels", "For a scatter: URI of a whole number for each row, its colour."));
}

}  // namespace gpumcp::interfaces
