#pragma once

// From what lies on disk to a BatchModel on a device: which kind of model it is, how large it will
// be, and the loading itself. Free functions; load_model() runs on the executor's owner thread,
// which makes, uses and destroys what it returns.
#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "gpu_runtime/batch_model.h"
#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/model_config.h"

namespace gpumcp::gpu_runtime {

struct LoadRequest {
  std::filesystem::path folder;  // or one file: MODEL.pt2, MODEL.pt
  c10::Device device = c10::kCPU;
  std::string dtype = "auto";    // see choose_dtype()
  std::string load_as = "auto";  // see model_kind()
  // The open weights and what this load shares, when somebody else has opened them already.
  std::optional<Checkpoint> checkpoint;
  StillWanted wanted;
  // For what a loaded model comes to hold beside its weights, such as adapters: whether there is
  // room for so many bytes more, which count from then on. Negative: they are given back.
  std::function<bool(std::int64_t)> take_memory = nullptr;
};

using ModelLoader = std::function<std::unique_ptr<BatchModel>(const LoadRequest&)>;

// native: a Hugging Face folder that one of our architectures reads. aoti: an AOTInductor package.
// torchscript: a module that torch.jit saved.
enum class ModelKind { native, aoti, torchscript };

// By load_as ("native", "aoti", "torchscript": the one such file of a folder), or for "auto" by the
// name of the file that was given (.pt2; .pt, .pth, .ts); a folder is native then.
// Error(invalid_argument) for another word, Error(not_found) when there is no such file.
struct ModelFile {
  ModelKind kind = ModelKind::native;
  std::filesystem::path file;  // the package or module; empty for native
};
GPUMCP_RUNTIME_API ModelFile find_model_file(const std::filesystem::path& path,
                                             const std::string& load_as);

// The type that weights are used in. "auto": float32 on a CPU; on a GPU config.json's, and bfloat16
// for a model of more than a thousand million parameters that says float32. Error(invalid_argument)
// for another word.
GPUMCP_RUNTIME_API at::ScalarType choose_dtype(const std::string& wanted, const ModelConfig& config,
                                               c10::Device device, std::uint64_t parameters);

// Bytes of weights on the device, from headers alone.
GPUMCP_RUNTIME_API std::uint64_t measure_model(const LoadRequest& request);

// Throws Error for everything that is wrong with what is there.
GPUMCP_RUNTIME_API std::unique_ptr<BatchModel> load_model(const LoadRequest& request);

}  // namespace gpumcp::gpu_runtime
