#include "gpu_runtime/module_model.h"

#include <ATen/ATen.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>

#include "gpu_runtime/device.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/json.h"
#include "gpu_runtime/packing.h"
#include "gpu_runtime/pooling.h"
#include "gpu_runtime/token_limits.h"

namespace gpumcp::gpu_runtime {
namespace {

namespace fs = std::filesystem;
using Tensors = std::vector<at::Tensor>;

constexpr std::size_t kMaxInputs = 3;  // ids, mask, types
constexpr std::size_t kRowsPerCall = 256;

struct Module {
  std::function<Tensors(Tensors)> forward;
  std::size_t inputs = 0;
};

std::string spelled(at::IntArrayRef shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

// Leaves of a tree of arguments as torch.export writes it.
std::size_t count_leaves(const Json& spec) {
  if (spec.is_array()) {
    return std::accumulate(
        spec.begin(), spec.end(), std::size_t{0},
        [](std::size_t sum, const Json& one) { return sum + count_leaves(one); });
  }
  if (!spec.is_object()) return 0;
  if (spec.contains("type") && spec.at("type").is_null()) return 1;
  return spec.contains("children_spec") ? count_leaves(spec.at("children_spec")) : 0;
}

Module load_package(const fs::path& file, c10::Device device) {
  using Loader = torch::inductor::AOTIModelPackageLoader;
  const auto metadata = Loader::load_metadata_from_package(file.string(), "model");
  if (const auto kind = metadata.find("AOTI_DEVICE_KEY"); kind != metadata.end()) {
    const std::string wanted = c10::DeviceTypeName(device.type(), /*lower_case=*/true);
    if (kind->second != wanted) {
      throw Error(ErrorCode::unsupported, file.string() + ": this package was compiled for " +
                                              kind->second + ", but it is to run on " +
                                              device.str() + "; export it for " + wanted);
    }
  }
  auto loader = std::make_shared<Loader>(file.string(), "model", /*run_single_threaded=*/false,
                                         /*num_runners=*/1, device.is_cpu() ? -1 : device.index());
  const std::vector<std::string> spec = loader->get_call_spec();
  const std::size_t inputs =
      spec.empty() ? 0 : count_leaves(parse_json(spec[0], file.string() + ": its call spec", {}));
  return {[loader](Tensors given) { return loader->run(given); }, inputs};
}

Tensors tensors_of(const c10::IValue& value) {
  if (value.isTensor()) return {value.toTensor()};
  if (value.isTensorList()) return value.toTensorVector();
  Tensors tensors;
  if (value.isTuple()) {
    for (const c10::IValue& one : value.toTupleRef().elements()) {
      if (one.isTensor()) tensors.push_back(one.toTensor());
    }
  } else if (value.isGenericDict()) {
    for (const auto& one : value.toGenericDict()) {
      if (one.value().isTensor()) tensors.push_back(one.value().toTensor());
    }
  }
  return tensors;
}

Module load_script(const fs::path& file, c10::Device device) {
  auto module = std::make_shared<torch::jit::Module>(torch::jit::load(file.string(), device));
  module->eval();
  const std::size_t arguments =
      module->get_method("forward").function().getSchema().arguments().size();  // self counts
  return {
      [module](Tensors inputs) {
        return tensors_of(module->forward(std::vector<c10::IValue>(inputs.begin(), inputs.end())));
      },
      arguments - 1};
}

class ModuleModel final : public BatchModel {
 public:
  ModuleModel(fs::path file, c10::Device device, TokenLimits limits, Module module)
      : file_(std::move(file)), device_(device), limits_(limits), module_(std::move(module)) {}

  ~ModuleModel() override {
    module_ = {};
    pooling_.reset();
    try {
      release_cached_memory(device_);
    } catch (...) {  // as for LoadedModel: nothing to do about it here
    }
  }

  void check(const TokenRow& row) const override {
    check_tokens(row, limits_);
    if (row.taps) check_taps(*row.taps, {}, 0, false);  // refuses
  }

  void run(std::span<const BatchRow> rows, const StillWanted& wanted) override {
    std::vector<std::size_t> order(rows.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(
        order, [&](std::size_t a, std::size_t b) { return length(rows[a]) < length(rows[b]); });
    for (std::size_t begin = 0; begin < order.size();) {
      std::size_t end = begin + 1;
      while (end < order.size() && end - begin < kRowsPerCall &&
             length(rows[order[end]]) == length(rows[order[begin]])) {
        ++end;
      }
      if (wanted && !wanted()) throw Error(ErrorCode::cancelled, "the call was cancelled");
      std::vector<const BatchRow*> chosen;
      for (std::size_t i = begin; i < end; ++i) chosen.push_back(&rows[order[i]]);
      run_equal(chosen);
      begin = end;
    }
  }

 private:
  static std::size_t length(const BatchRow& row) { return row.tokens->ids.size(); }

  at::Tensor table(std::span<const BatchRow* const> rows, bool types) const {
    const auto width = static_cast<std::int64_t>(length(*rows[0]));
    at::Tensor table = at::zeros({static_cast<std::int64_t>(rows.size()), width}, at::kLong);
    auto* out = table.mutable_data_ptr<std::int64_t>();
    for (const BatchRow* row : rows) {
      const auto& values = types ? row->tokens->type_ids : row->tokens->ids;
      std::copy(values.begin(), values.end(), out);
      out += width;
    }
    return table.to(device_);
  }

  void run_equal(std::span<const BatchRow* const> rows) {
    Tensors inputs{table(rows, false)};
    if (module_.inputs > 1) inputs.push_back(at::ones_like(inputs[0]));
    if (module_.inputs > 2) inputs.push_back(table(rows, true));
    const Tensors outputs = module_.forward(std::move(inputs));
    const auto count = static_cast<std::int64_t>(rows.size());
    const auto width = static_cast<std::int64_t>(length(*rows[0]));
    const at::Tensor out = outputs.empty() ? at::Tensor() : outputs[0];
    const bool per_token =
        out.defined() && out.dim() == 3 && out.size(0) == count && out.size(1) == width;
    const bool per_text = out.defined() && out.dim() == 2 && out.size(0) == count;
    if (!per_token && !per_text) {
      throw Error(ErrorCode::unsupported,
                  file_.string() + ": its first output must be [" + std::to_string(count) + ", " +
                      std::to_string(width) + ", d] or [" + std::to_string(count) +
                      ", d] for such a batch, but is " +
                      (out.defined() ? spelled(out.sizes()) : std::string("no tensor")));
    }
    if (!at::isfinite(out.sum(at::kFloat)).item<bool>() && !at::isfinite(out).all().item<bool>()) {
      throw Error(ErrorCode::internal,
                  file_.string() + ": the module gives numbers that are not finite");
    }
    at::Tensor normal, raw;
    for (std::int64_t i = 0; i < count; ++i) {
      const Want& want = *rows[static_cast<std::size_t>(i)]->want;
      RowResult& result = *rows[static_cast<std::size_t>(i)]->result;
      if (want.hidden_states) {
        throw Error(ErrorCode::unsupported,
                    file_.string() +
                        ": a compiled module gives its outputs alone, not the hidden "
                        "states of each layer");
      }
      if (want.last_hidden_state || want.logits) {
        if (!per_token) {
          throw Error(ErrorCode::unsupported,
                      file_.string() + ": the module gives one vector a text, " +
                          spelled(out.sizes()) + "; an output a token is needed here");
        }
        const at::Tensor own = count == 1 ? out.select(0, i) : out.select(0, i).clone();
        if (want.last_hidden_state) result.last_hidden_state = own;
        if (want.logits) result.logits = own.to(at::kFloat);
      }
      if (want.pooled) {
        at::Tensor& all = want.raw ? raw : normal;
        if (!all.defined()) all = pooled(out, per_text, count, width, want.raw);
        result.pooled = all.select(0, i);
      }
    }
  }

  at::Tensor pooled(const at::Tensor& out, bool per_text, std::int64_t count, std::int64_t width,
                    bool raw) {
    if (per_text) return out.to(at::kCPU, at::kFloat);
    if (!pooling_) {
      pooling_.emplace(SentenceTransformerConfig::from_pretrained(file_.parent_path()), out.size(2),
                       out.scalar_type(), device_);
    }
    const LengthGroup group{count, width};
    return (*pooling_)(out.reshape({count * width, out.size(2)}), std::span(&group, 1), raw).cpu();
  }

  const fs::path file_;
  const c10::Device device_;
  const TokenLimits limits_;
  Module module_;
  std::optional<Pooling> pooling_;
};

TokenLimits read_limits(const fs::path& file) {
  const fs::path folder = file.parent_path();
  std::error_code ignored;
  if (!fs::exists(folder / "config.json", ignored)) {
    throw Error(ErrorCode::not_found,
                file.string() +
                    ": there is no config.json beside it. It must say vocab_size and "
                    "max_position_embeddings, since tokens beyond them end the process "
                    "inside compiled code");
  }
  const ModelConfig all = ModelConfig::from_pretrained(folder);
  const ModelConfig config = all.has("text_config") ? all.get_object("text_config") : all;
  auto number = [&](std::initializer_list<const char*> keys) {
    for (const char* key : keys) {
      if (config.has(key)) return config.get_int(key, 1, std::int64_t{1} << 32);
    }
    return config.get_int(*keys.begin(), 1, std::int64_t{1} << 32);  // throws, and names it
  };
  TokenLimits limits{.vocab_size = number({"vocab_size"}),
                     .max_length = number({"max_position_embeddings", "n_positions"}),
                     .type_vocab_size = config.get_int("type_vocab_size", 0, 1 << 20, 0)};
  // These count positions from behind the padding id.
  for (const char* type : {"roberta", "xlm-roberta", "camembert", "mpnet"}) {
    if (all.model_type() == type)
      limits.max_length -= config.get_int("pad_token_id", 0, limits.max_length - 2, 1) + 1;
  }
  return limits;
}

}  // namespace

std::unique_ptr<BatchModel> load_module_model(const LoadRequest& request, const ModelFile& module) {
  const TokenLimits limits = read_limits(module.file);
  if (request.dtype != "auto" && !request.dtype.empty()) {
    throw Error(ErrorCode::invalid_argument,
                module.file.string() +
                    ": a compiled module has the dtype it was made with; leave "
                    "dtype \"" +
                    request.dtype + "\" out");
  }
  if (request.wanted && !request.wanted())
    throw Error(ErrorCode::cancelled, "the call was cancelled");
  const bool package = module.kind == ModelKind::aoti;
  Module loaded;
  try {
    loaded = package ? load_package(module.file, request.device)
                     : load_script(module.file, request.device);
  } catch (const Error&) {
    throw;
  } catch (const c10::OutOfMemoryError&) {
    throw;
  } catch (const c10::Error& e) {
    throw Error(ErrorCode::corrupt_checkpoint,
                module.file.string() + ": is no " +
                    (package ? "AOTInductor package that can be loaded here (export with "
                               "aot_inductor.link_libtorch False, on this version of torch): "
                             : "TorchScript module that can be loaded here: ") +
                    e.what_without_backtrace());
  } catch (const std::runtime_error& e) {
    throw Error(ErrorCode::corrupt_checkpoint, module.file.string() + ": " + e.what());
  }
  if (loaded.inputs == 0 || loaded.inputs > kMaxInputs) {
    throw Error(ErrorCode::unsupported,
                module.file.string() + ": its forward takes " + std::to_string(loaded.inputs) +
                    " inputs; input_ids, attention_mask and token_type_ids can be given, in this "
                    "order");
  }
  return std::make_unique<ModuleModel>(module.file, request.device, limits, std::move(loaded));
}

}  // namespace gpumcp::gpu_runtime
