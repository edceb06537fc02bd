// What tools that take and give tensors share: opening one that a caller names by its URI, keeping
// one as an artifact, and saying in a few words what it is. Free functions and values, callable
// from any thread; tensors are in host memory.
#pragma once

#include <ATen/TensorOperators.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "interfaces/interface.h"

namespace gpumcp::interfaces {

// Six digits, which is what a reader needs; nothing for what is no finite number, which JSON cannot
// say.
GPUMCP_RUNTIME_API std::optional<double> shown(double value);
// The first `count` numbers, in C order.
GPUMCP_RUNTIME_API std::vector<std::optional<double>> preview_of(const at::Tensor& tensor,
                                                                 std::int64_t count = 6);
GPUMCP_RUNTIME_API std::string spelled(at::IntArrayRef shape);  // "[3, 576]"

// The beginning of a text, whole characters only.
GPUMCP_RUNTIME_API std::string cut_utf8(const std::string& text, std::size_t max_bytes);

struct KeptTensor {
  std::string uri, name;
  std::vector<std::int64_t> shape;
  std::string dtype;
  std::optional<double> norm;
  std::vector<std::optional<double>> preview;
};
GPUMCP_DESCRIBE_DOC(KeptTensor,
                    (uri, "Names the tensor for other tools; resources/read gives it as .npy."),
                    (name, "What it is, the first 80 characters."), (shape, "Its dimensions."),
                    (dtype, "Type of its values."),
                    (norm, "Euclidean length of all values; absent if one is not finite."),
                    (preview, "Its first 6 values; null stands for NaN and infinity."))

// Keeps the tensor for whoever knows the URI.
GPUMCP_RUNTIME_API KeptTensor keep_tensor(const at::Tensor& tensor, const std::string& name,
                                          const std::string& description = "");
// The link that goes behind the text of a result.
GPUMCP_RUNTIME_API mcp::ContentBlock link_to(const KeptTensor& kept);
GPUMCP_RUNTIME_API mcp::WithContent<KeptTensor> with_link(KeptTensor kept);

// The tensor as float64 with `least` to `most` dimensions, all numbers finite; ToolError names the
// argument, and what it needs.
GPUMCP_RUNTIME_API at::Tensor numbers_of(const TensorRef& given, std::string_view argument,
                                         std::int64_t least, std::int64_t most);
// … as rows; a vector is one row.
GPUMCP_RUNTIME_API at::Tensor rows_of(const TensorRef& given, std::string_view argument);
// All of its numbers, cut to whole ones: labels of rows.
GPUMCP_RUNTIME_API std::vector<std::int64_t> whole_numbers(const TensorRef& given);

// What reads artifacts and keeps new ones, and changes nothing else.
inline mcp::ToolAnnotations tensor_tool(std::string title) {
  return {.title = std::move(title), .readOnlyHint = true, .openWorldHint = false};
}

}  // namespace gpumcp::interfaces
