#include "gpu_runtime/weights.h"

#include <cstring>

#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

std::string spelled(at::IntArrayRef shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// An owned copy: the mapping is not aligned to elements.
at::Tensor copy_of(const Checkpoint::Entry& entry) {
  at::Tensor tensor =
      at::empty(entry.info->shape, at::TensorOptions(torch_dtype(entry.info->dtype)));
  const auto bytes = entry.data();
  if (!bytes.empty()) std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

}  // namespace

at::ScalarType torch_dtype(Dtype dtype) {
  switch (dtype) {
    case Dtype::boolean:
      return at::kBool;
    case Dtype::u8:
      return at::kByte;
    case Dtype::i8:
      return at::kChar;
    case Dtype::i16:
      return at::kShort;
    case Dtype::i32:
      return at::kInt;
    case Dtype::i64:
      return at::kLong;
    case Dtype::f16:
      return at::kHalf;
    case Dtype::bf16:
      return at::kBFloat16;
    case Dtype::f32:
      return at::kFloat;
    case Dtype::f64:
      return at::kDouble;
    default:
      throw Error(ErrorCode::unsupported,
                  "tensors of type " + std::string(to_string(dtype)) + " are not supported");
  }
}

Dtype checkpoint_dtype(at::ScalarType type) {
  for (const DtypeFacts& row : kDtypes) {
    switch (row.dtype) {
      case Dtype::u16:
      case Dtype::u32:
      case Dtype::u64:
      case Dtype::f8_e4m3:
      case Dtype::f8_e5m2:
        break;
      default:
        if (torch_dtype(row.dtype) == type) return row.dtype;
    }
  }
  throw Error(ErrorCode::unsupported,
              std::string("tensors of type ") + c10::toString(type) + " are not supported");
}

Weights::Weights(Checkpoint checkpoint, std::initializer_list<std::string_view> prefixes,
                 std::string_view probe, at::ScalarType dtype, c10::Device device)
    : checkpoint_(std::move(checkpoint)),
      dtype_(dtype),
      device_(device),
      session_(checkpoint_.session() ? checkpoint_.session() : std::make_shared<WeightSession>()),
      reader_(std::make_unique<WeightReader>(device, *session_)) {
  for (std::string_view prefix : prefixes) {
    if (checkpoint_.find(std::string(prefix) + std::string(probe)) != nullptr) {
      prefix_ = prefix;
      return;
    }
  }
  checkpoint_.require(probe);  // throws, and names what comes near
}

bool Weights::has(const std::string& name) const {
  return checkpoint_.find(prefix_ + name) != nullptr;
}

at::Tensor Weights::get(const std::string& name, std::initializer_list<std::int64_t> shape) const {
  const Checkpoint::Entry& entry = checkpoint_.require(prefix_ + name);
  const at::IntArrayRef wanted(shape.begin(), shape.size());
  const std::string place = "tensor " + entry.info->name + " in " + entry.file->path().string();
  if (at::IntArrayRef(entry.info->shape) != wanted) {
    throw Error(ErrorCode::corrupt_checkpoint, place + " has shape " + spelled(entry.info->shape) +
                                                   ", but config.json asks for " + spelled(wanted));
  }
  if (!at::isFloatingType(torch_dtype(entry.info->dtype))) {
    throw Error(ErrorCode::corrupt_checkpoint, place + " is of type " +
                                                   std::string(to_string(entry.info->dtype)) +
                                                   ", but weights are floating point");
  }
  return reader_->read(entry, dtype_);
}

std::uint64_t count_parameters(const Checkpoint& checkpoint) {
  std::uint64_t count = 0;
  for (const Checkpoint::Entry& entry : checkpoint.tensors())
    count += entry.info->nbytes / item_size(entry.info->dtype);
  return count;
}

std::optional<std::string> find_non_finite_weight(const Checkpoint& checkpoint) {
  for (const Checkpoint::Entry& entry : checkpoint.tensors()) {
    if (entry.info->nbytes == 0) continue;
    switch (entry.info->dtype) {
      case Dtype::f16:
      case Dtype::bf16:
      case Dtype::f32:
      case Dtype::f64:
        if (!at::isfinite(copy_of(entry)).all().item<bool>()) {
          return entry.info->name + " in " + entry.file->path().string();
        }
        break;
      default:
        break;
    }
  }
  return std::nullopt;
}

}  // namespace gpumcp::gpu_runtime
