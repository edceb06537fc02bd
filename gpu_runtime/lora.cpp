#include "gpu_runtime/lora.h"

#include <ATen/ATen.h>

#include <charconv>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include "gpu_runtime/error.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/safetensors.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kDown = ".lora_A.weight", kUp = ".lora_B.weight";
constexpr std::int64_t kMaxRank = 1 << 14;

[[noreturn]] void not_supported(const std::string& origin, const std::string& what) {
  throw Error(ErrorCode::unsupported, origin + ": " + what);
}

[[noreturn]] void broken(const std::string& origin, const std::string& what) {
  throw Error(ErrorCode::corrupt_checkpoint, origin + ": " + what);
}

ModelConfig read_adapter_config(const fs::path& folder) {
  const fs::path file = folder / "adapter_config.json";
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) {
    throw Error(ErrorCode::not_found,
                folder.string() +
                    ": there is no adapter_config.json in it, as every LoRA adapter of PEFT has");
  }
  return ModelConfig::from_json(read_json_file(file, {.max_bytes = std::size_t{4} << 20}),
                                file.string());
}

bool key_is_set(const ModelConfig& config, const char* key) {
  if (!config.has(key)) return false;
  const Json& value = config.json().at(key);
  return value.is_boolean() ? value.get<bool>() : !value.empty();
}

void check_adapter_kind(const ModelConfig& config) {
  const std::string type = config.get_string("peft_type", "");
  if (type != "LORA") {
    not_supported(config.origin(),
                  "peft_type " + describe_json(Json(type)) + " is not supported (supported: LORA)");
  }
  for (const char* key :
       {"modules_to_save", "use_dora", "lora_bias", "target_parameters", "trainable_token_indices",
        "alora_invocation_tokens", "use_qalora", "use_bdlora", "layer_replication"}) {
    if (key_is_set(config, key)) {
      not_supported(config.origin(),
                    std::string(key) +
                        " is not supported: only what LoRA adds to linear layers is. Merge the "
                        "adapter into its base (merge_and_unload) and serve the result");
    }
  }
  const std::string bias = config.get_string("bias", "none");
  if (bias != "none") {
    not_supported(config.origin(), "bias " + describe_json(Json(bias)) +
                                       " is not supported (supported: none); train without, or "
                                       "merge the adapter into its base");
  }
}

// rank_pattern and alpha_pattern: numbers for modules whose path ends with the key.
class Pattern {
 public:
  Pattern(const ModelConfig& config, const char* key) {
    if (!config.has(key)) return;
    const ModelConfig all = config.get_object(key);
    for (const auto& [name, unused] : all.json().items()) {
      std::string_view suffix = name;
      if (suffix.starts_with('^')) suffix.remove_prefix(1);
      if (suffix.find_first_of("*+?[](){}|\\$^") != suffix.npos) {
        not_supported(all.origin(), "the key " + describe_json(Json(name)) + " of " + key +
                                        " is a regular expression; only names of modules are "
                                        "supported");
      }
      values_[std::string(suffix)] = all.get_number(name, 1e-9, 1e9);
    }
  }
  double find(std::string_view path, double otherwise) const {
    for (const auto& [suffix, value] : values_) {
      if (path == suffix || (path.ends_with(suffix) && path.size() > suffix.size() &&
                             path[path.size() - suffix.size() - 1] == '.'))
        return value;
    }
    return otherwise;
  }

 private:
  std::map<std::string, double> values_;
};

at::Tensor read_matrix(const SafetensorsFile& file, const TensorInfo& info) {
  if (!at::isFloatingType(torch_dtype(info.dtype)) || info.shape.size() != 2 || info.nbytes == 0) {
    broken(file.path().string(), "tensor " + info.name + " is no matrix of floating-point numbers");
  }
  at::Tensor tensor = at::empty(info.shape, at::TensorOptions(torch_dtype(info.dtype)));
  const auto bytes = file.data(info);
  std::memcpy(tensor.mutable_data_ptr(), bytes.data(), bytes.size());
  tensor = tensor.to(at::kFloat);
  if (!at::isfinite(tensor).all().item<bool>())
    broken(file.path().string(), "tensor " + info.name + " holds NaN or infinity");
  return tensor;
}

std::shared_ptr<const SafetensorsFile> open_adapter_weights(const fs::path& folder) {
  const fs::path file = folder / "adapter_model.safetensors";
  std::error_code ignored;
  if (fs::is_regular_file(file, ignored)) return SafetensorsFile::open(file);
  if (fs::is_regular_file(folder / "adapter_model.bin", ignored)) {
    not_supported(folder.string(),
                  "its weights are a pickle (adapter_model.bin), which can run code; save them "
                  "with safe_serialization=True");
  }
  throw Error(ErrorCode::not_found,
              folder.string() + ": there is no adapter_model.safetensors in it");
}

std::string joined(std::string_view a, std::string_view b) {
  std::string both(a);
  return both += b;
}

std::string matrix_shape(const at::Tensor& tensor) {
  std::string shape = "[";
  (shape += std::to_string(tensor.size(0))) += ", ";
  return (shape += std::to_string(tensor.size(1))) += "]";
}

}  // namespace

std::string LoraAdapter::read_base(const fs::path& folder) {
  return read_adapter_config(folder).get_string("base_model_name_or_path", "");
}

std::shared_ptr<const LoraAdapter> LoraAdapter::open(const fs::path& folder, std::string name) {
  const c10::InferenceMode inference;
  const ModelConfig config = read_adapter_config(folder);
  check_adapter_kind(config);
  const auto rank = static_cast<double>(config.get_int("r", 1, kMaxRank));
  const double alpha = config.get_number("lora_alpha", 1e-9, 1e9, 8);
  const bool root = config.get_bool("use_rslora", false);
  const Pattern ranks(config, "rank_pattern"), alphas(config, "alpha_pattern");
  const auto file = open_adapter_weights(folder);
  const std::string origin = file->path().string();

  std::shared_ptr<LoraAdapter> out(new LoraAdapter());
  out->name_ = std::move(name);
  out->folder_ = folder;
  for (const TensorInfo& info : file->tensors()) {
    const std::string_view key = info.name;
    if (key.ends_with(kUp)) {
      const std::string other = joined(key.substr(0, key.size() - kUp.size()), kDown);
      if (file->find(other) == nullptr) broken(origin, info.name + " stands without its lora_A");
      continue;
    }
    if (!key.ends_with(kDown) || !key.starts_with(kPrefix)) {
      not_supported(origin, "tensor " + info.name +
                                " is none of a linear layer's (base_model.model.….lora_A.weight "
                                "and lora_B.weight); embeddings and whole modules are not "
                                "supported");
    }
    const std::string stem(key.substr(0, key.size() - kDown.size()));
    const TensorInfo* up = file->find(joined(stem, kUp));
    if (up == nullptr) broken(origin, info.name + " stands without its lora_B");
    LoraModule module{.path = stem.substr(kPrefix.size()),
                      .down = read_matrix(*file, info),
                      .up = read_matrix(*file, *up)};
    const double r = ranks.find(module.path, rank);
    if (module.down.size(0) != static_cast<std::int64_t>(r) ||
        module.up.size(1) != module.down.size(0)) {
      broken(origin, module.path + ": lora_A is " + matrix_shape(module.down) + " and lora_B " +
                         matrix_shape(module.up) + ", but adapter_config.json says rank " +
                         std::to_string(static_cast<std::int64_t>(r)));
    }
    const double scale = alphas.find(module.path, alpha) / (root ? std::sqrt(r) : r);
    module.up.mul_(scale);
    out->nbytes_ += module.down.nbytes() + module.up.nbytes();
    out->modules_.push_back(std::move(module));
  }
  if (out->modules_.empty()) broken(origin, "there are no tensors in it");
  return out;
}

PlacedAdapter::PlacedAdapter(std::shared_ptr<const LoraAdapter> adapter, const AdapterFacts& facts,
                             std::int64_t num_layers, c10::Device device, at::ScalarType dtype)
    : adapter_(std::move(adapter)), parts_(static_cast<std::size_t>(num_layers) * kLinearSites) {
  const std::string what =
      "adapter " + (adapter_->name().empty() ? adapter_->folder().string() : adapter_->name());
  auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::invalid_argument, what + " does not fit the model: " + why);
  };
  if (facts.targets.empty()) {
    throw Error(ErrorCode::unsupported,
                what +
                    ": models of this architecture take no adapters; causal language models "
                    "(Llama, Mistral, Qwen, Gemma, GPT-2) do");
  }
  for (const LoraModule& module : adapter_->modules()) {
    const std::string_view path = module.path;
    const std::size_t at = path.rfind(joined(".", facts.layers));
    std::int64_t layer = -1;
    std::string_view suffix;
    if (at != path.npos) {
      const std::string_view rest = path.substr(at + 1 + facts.layers.size());
      const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), layer);
      if (problem == std::errc() && end != rest.data() + rest.size() && *end == '.')
        suffix = rest.substr(static_cast<std::size_t>(end - rest.data()) + 1);
    }
    const AdapterTarget* target = nullptr;
    for (const AdapterTarget& one : facts.targets) {
      if (one.suffix == suffix) target = &one;
    }
    if (target == nullptr || layer < 0) {
      std::string known;
      for (const AdapterTarget& one : facts.targets)
        (known += known.empty() ? "" : ", ") += one.suffix;
      refuse("it changes " + module.path + "; supported are " + known + " of its layers");
    }
    if (layer >= num_layers) {
      refuse("it changes " + module.path + ", and the model has layers 0 to " +
             std::to_string(num_layers - 1));
    }
    if (module.down.size(1) != target->in || module.up.size(0) != target->out) {
      refuse(module.path + " goes from " + std::to_string(module.down.size(1)) + " to " +
             std::to_string(module.up.size(0)) + " numbers, and the model's from " +
             std::to_string(target->in) + " to " + std::to_string(target->out) +
             ": it was trained on another base");
    }
    const Part part{module.down.to(device, dtype), module.up.to(device, dtype), target->begin,
                    target->out};
    nbytes_ += part.down.nbytes() + part.up.nbytes();
    parts_[static_cast<std::size_t>(layer) * kLinearSites + static_cast<std::size_t>(target->site)]
        .push_back(part);
  }
}

void PlacedAdapter::add(LinearSite site, std::int64_t layer, const at::Tensor& x,
                        const at::Tensor& y) const {
  const auto& parts =
      parts_[static_cast<std::size_t>(layer) * kLinearSites + static_cast<std::size_t>(site)];
  for (const Part& part : parts)
    y.narrow(1, part.begin, part.out).add_(at::linear(at::linear(x, part.down), part.up));
}

}  // namespace gpumcp::gpu_runtime
