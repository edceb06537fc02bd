// slice_tensor: a part of a tensor, its numbers in the result where they are few.
#include "gpu_runtime/error.h"
#include "interfaces/tensor_io.h"
#include "interfaces/tensors/tensors.h"

namespace gpumcp::interfaces {
namespace {

struct SlicedTensor {
  std::string uri;
  std::vector<int64_t> shape;
  std::string dtype;
  std::optional<std::vector<std::optional<double>>> values;
  std::optional<std::vector<std::optional<double>>> preview;
};
GPUMCP_DESCRIBE_DOC(SlicedTensor, (uri, "Names the part for other tools."),
                    (shape, "Its dimensions."), (dtype, "Type of its values."),
                    (values, "All of them in C order, where there are at most 32."),
                    (preview, "Else the first 6; null: not finite."))

constexpr int64_t kInline = 32;

// A TensorRef would read all of the tensor; only the part is read here.
at::Tensor part_of(const std::string& uri, const std::string& slice) {
  try {
    return TensorRef::open(uri + "?slice=" + slice).tensor();
  } catch (const gpu_runtime::Error& e) {
    throw ToolError("arguments.slice: " + std::string(e.what()));
  }
}

}  // namespace

void expose_slice_tensor(Interface& interface) {
  interface.expose(
      {.name = "slice_tensor",
       .description = "Take a part of a tensor, written as NumPy does: \"0:10\", \"-1\", "
                      "\":,0:3\", \"::2\". Up to 32 values come in the result, more as a new "
                      "tensor by uri.",
       .annotations = tensor_tool("Slice a tensor")},
      [](const std::string& tensor, const std::string& slice) {
        if (tensor.find('?') != tensor.npos)
          throw ToolError(
              "arguments.tensor: give the uri without a query, and the part as `slice`");
        const at::Tensor part = part_of(tensor, slice);
        const KeptTensor kept = keep_tensor(part, "slice", "[" + slice + "] of " + tensor);
        SlicedTensor out{.uri = kept.uri, .shape = kept.shape, .dtype = kept.dtype};
        if (part.numel() <= kInline)
          out.values = preview_of(part, kInline);
        else
          out.preview = kept.preview;
        return mcp::WithContent<SlicedTensor>{std::move(out), {link_to(kept)}};
      },
      arg("tensor", "A gpumcp://artifacts/ URI.").set("format", "uri"),
      arg("slice",
          "begin:end, begin:end:step or an index for each dimension, joined by commas; "
          "those left out are taken whole.")
          .min_length(1)
          .max_length(200));
}

}  // namespace gpumcp::interfaces
