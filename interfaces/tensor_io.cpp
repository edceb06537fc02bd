#include "interfaces/tensor_io.h"

#include <ATen/ops/isfinite.h>

#include <cmath>

#include "gpu_runtime/runtime.h"
#include "interfaces/result_size.h"

namespace gpumcp::interfaces {

std::optional<double> shown(double value) {
  if (!std::isfinite(value)) return std::nullopt;
  if (value == 0) return 0.0;
  const double scale = std::pow(10.0, 5 - std::floor(std::log10(std::abs(value))));
  if (!std::isfinite(scale) || scale == 0) return value;
  return std::round(value * scale) / scale;
}

std::vector<std::optional<double>> preview_of(const at::Tensor& tensor, std::int64_t count) {
  std::vector<std::optional<double>> out;
  const at::Tensor flat = tensor.flatten();
  const at::Tensor first =
      flat.narrow(0, 0, std::min(count, flat.size(0))).to(at::kCPU, at::kDouble).contiguous();
  for (std::int64_t i = 0; i < first.size(0); ++i)
    out.push_back(shown(first.const_data_ptr<double>()[i]));
  return out;
}

std::string spelled(at::IntArrayRef shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

std::string cut_utf8(const std::string& text, std::size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  while (max_bytes > 0 && (static_cast<unsigned char>(text[max_bytes]) & 0xc0) == 0x80) --max_bytes;
  return text.substr(0, max_bytes);
}

KeptTensor keep_tensor(const at::Tensor& tensor, const std::string& name,
                       const std::string& description) {
  const gpu_runtime::ArtifactInfo info = gpu_runtime::put_tensor(tensor, name, description);
  return {.uri = info.uri,
          .name = cut_text(name, 80, 80),
          .shape = info.shape,
          .dtype = info.dtype,
          .norm = shown(tensor.to(at::kDouble).norm().item<double>()),
          .preview = preview_of(tensor)};
}

mcp::ContentBlock link_to(const KeptTensor& kept) {
  return {mcp::ResourceLink{
      .uri = kept.uri, .name = kept.name + ".npy", .mimeType = "application/x-npy"}};
}

mcp::WithContent<KeptTensor> with_link(KeptTensor kept) {
  mcp::ContentBlock link = link_to(kept);
  return {std::move(kept), {std::move(link)}};
}

at::Tensor numbers_of(const TensorRef& given, std::string_view argument, std::int64_t least,
                      std::int64_t most) {
  const at::Tensor& tensor = given.tensor();
  const std::string at = "arguments." + std::string(argument) + ": ";
  if (tensor.dim() < least || tensor.dim() > most || tensor.numel() == 0) {
    const std::string wanted = least == most
                                   ? std::to_string(least)
                                   : std::to_string(least) + " to " + std::to_string(most);
    throw ToolError(at + "its shape is " + spelled(tensor.sizes()) + ", but " + wanted +
                    " dimension" + (wanted == "1" ? "" : "s") +
                    " with values are needed: take a part with slice_tensor, or ?slice= behind the "
                    "uri");
  }
  at::Tensor numbers = tensor.to(at::kDouble);
  if (!at::isfinite(numbers).all().item<bool>())
    throw ToolError(at + "some of its values are NaN or infinite; describe_tensor counts them");
  return numbers;
}

at::Tensor rows_of(const TensorRef& given, std::string_view argument) {
  at::Tensor rows = numbers_of(given, argument, 1, 2);
  return rows.dim() == 1 ? rows.unsqueeze(0) : rows;
}

std::vector<std::int64_t> whole_numbers(const TensorRef& given) {
  const at::Tensor numbers = given.tensor().flatten().to(at::kLong).contiguous();
  const std::int64_t* first = numbers.const_data_ptr<std::int64_t>();
  return {first, first + numbers.numel()};
}

}  // namespace gpumcp::interfaces
