#include "gpu_runtime/model_loader.h"

#include <algorithm>
#include <vector>

#include "gpu_runtime/error.h"
#include "gpu_runtime/loaded_model.h"
#include "gpu_runtime/models/registry.h"
#include "gpu_runtime/module_model.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kManyParameters = 1'000'000'000;

std::optional<ModelKind> kind_of_file(const fs::path& file) {
  const std::string extension = file.extension().string();
  if (extension == ".pt2") return ModelKind::aoti;
  if (extension == ".pt" || extension == ".pth" || extension == ".ts")
    return ModelKind::torchscript;
  return std::nullopt;
}

// The files of that kind in the folder, by name.
std::vector<fs::path> files_of_kind(const fs::path& folder, ModelKind kind) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    if (entry.is_regular_file(ignored) && kind_of_file(entry.path()) == kind)
      found.push_back(entry.path());
  }
  std::ranges::sort(found);
  return found;
}

ModelFile one_file(const fs::path& folder, ModelKind kind, const char* suffix) {
  const std::vector<fs::path> found = files_of_kind(folder, kind);
  if (found.size() == 1) return {kind, found.front()};
  std::string names;
  for (const fs::path& file : found)
    names += (names.empty() ? "" : ", ") + file.filename().string();
  throw Error(
      found.empty() ? ErrorCode::not_found : ErrorCode::invalid_argument,
      folder.string() + ": " +
          (found.empty() ? "there is no " + std::string(suffix) + " file in it"
                         : "there are several modules (" + names + "): give the path of one"));
}

}  // namespace

ModelFile find_model_file(const fs::path& path, const std::string& load_as) {
  std::error_code ignored;
  const bool file = fs::is_regular_file(path, ignored);
  auto as = [&](ModelKind kind, const char* suffix) {
    return file ? ModelFile{kind, path} : one_file(path, kind, suffix);
  };
  if (load_as == "native") return {};
  if (load_as == "aoti") return as(ModelKind::aoti, ".pt2");
  if (load_as == "torchscript") return as(ModelKind::torchscript, ".pt");
  if (!load_as.empty() && load_as != "auto") {
    throw Error(ErrorCode::invalid_argument,
                "load_as \"" + load_as.substr(0, 40) +
                    "\" is none: give auto, native, aoti or torchscript");
  }
  if (file) {
    if (const auto kind = kind_of_file(path)) return {*kind, path};
    throw Error(ErrorCode::unsupported,
                path.string() +
                    ": a model is a folder with safetensors, an AOTInductor package "
                    "(.pt2) or a TorchScript module (.pt)");
  }
  return {};  // code in a folder is not run because it happens to lie there: load_as asks for it
}

at::ScalarType choose_dtype(const std::string& wanted, const ModelConfig& config,
                            c10::Device device, std::uint64_t parameters) {
  if (wanted.empty() || wanted == "auto") {
    if (device.is_cpu()) return at::kFloat;
    const at::ScalarType own = torch_dtype(config.dtype());
    return own == at::kFloat && parameters > kManyParameters ? at::kBFloat16 : own;
  }
  if (wanted == "float32") return at::kFloat;
  if (wanted == "float16") return at::kHalf;
  if (wanted == "bfloat16") return at::kBFloat16;
  throw Error(ErrorCode::invalid_argument,
              "dtype \"" + wanted + "\" is none: give auto, float32, float16 or bfloat16");
}

std::uint64_t measure_model(const LoadRequest& request) {
  const ModelFile module = find_model_file(request.folder, request.load_as);
  if (module.kind != ModelKind::native) return fs::file_size(module.file);
  const ModelConfig config = ModelConfig::from_pretrained(request.folder);
  check_model_type(config);  // before the weights: an unknown architecture is the better message
  const Checkpoint checkpoint =
      request.checkpoint ? *request.checkpoint : Checkpoint::open(request.folder);
  const at::ScalarType dtype =
      choose_dtype(request.dtype, config, request.device, count_parameters(checkpoint));
  std::uint64_t bytes = 0;
  for (const Checkpoint::Entry& entry : checkpoint.tensors()) {
    const std::uint64_t numbers = entry.info->nbytes / item_size(entry.info->dtype);
    bytes += numbers * c10::elementSize(dtype);
  }
  return bytes;
}

std::unique_ptr<BatchModel> load_model(const LoadRequest& request) {
  const ModelFile module = find_model_file(request.folder, request.load_as);
  if (module.kind != ModelKind::native) return load_module_model(request, module);
  return std::make_unique<LoadedModel>(request);
}

}  // namespace gpumcp::gpu_runtime
