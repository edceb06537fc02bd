// save_tensor and load_tensor: tensors as files in the caller's workspace, .npy or .safetensors.
#include "gpu_runtime/artifact_view.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/npy.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/safetensors.h"
#include "interfaces/tensor_io.h"
#include "interfaces/tensors/tensors.h"
#include "interfaces/workspace.h"

namespace gpumcp::interfaces {
namespace {

namespace rt = gpu_runtime;

struct SavedFile {
  std::string path;
  int64_t bytes, tensors;
};
GPUMCP_DESCRIBE_DOC(SavedFile, (path, "The file."), (bytes, "Its size."),
                    (tensors, "How many tensors are in it."))

constexpr const char* kInstead = "resources/read gives a tensor's bytes by its uri";
constexpr uint64_t kMaxFile = uint64_t{1} << 30;

rt::Array array_of(const std::string& uri, const std::string& argument) {
  try {
    return rt::read_array(rt::Runtime::current().artifacts(), uri,
                          rt::CallScope::current_limits().caller);
  } catch (const rt::Error& e) {
    throw ToolError("arguments." + argument + ": " + e.what());
  }
}

SavedFile save(const std::map<std::string, std::string>& tensors, const std::string& file,
               bool overwrite, const std::string& folder) {
  if (tensors.empty()) throw ToolError("arguments.tensors: name at least one: {\"fear\": URI}");
  std::string bytes;
  if (file.ends_with(".npy")) {
    if (tensors.size() != 1)
      throw ToolError(
          "arguments.file: an .npy file holds one tensor; several go into .safetensors");
    const rt::Array array = array_of(tensors.begin()->second, "tensors");
    bytes = rt::write_npy(array.dtype, array.shape, array.data);
  } else if (file.ends_with(".safetensors")) {
    std::vector<rt::Array> owned;
    std::vector<rt::NamedArray> named;
    for (const auto& [name, uri] : tensors) {
      const rt::Array& array = owned.emplace_back(array_of(uri, "tensors." + name));
      named.push_back({name, array.dtype, array.shape, array.data});
    }
    bytes = rt::write_safetensors(named);
  } else {
    throw ToolError("arguments.file: " + file + " must end with .npy or .safetensors");
  }
  const auto path = write_workspace_file(folder, file, bytes, overwrite);
  return {.path = path.string(),
          .bytes = static_cast<int64_t>(bytes.size()),
          .tensors = static_cast<int64_t>(tensors.size())};
}

KeptTensor load(const std::string& file, const std::string& tensor, const std::string& folder) {
  if (!file.ends_with(".npy") && !file.ends_with(".safetensors"))
    throw ToolError("arguments.file: " + file + " must end with .npy or .safetensors");
  auto artifact = std::make_shared<rt::Artifact>();
  artifact->bytes = read_workspace_file(folder, file, kMaxFile);
  artifact->uri = file;  // what messages call it
  if (file.ends_with(".safetensors")) artifact->mime_type = rt::kSafetensorsMime;
  try {
    const rt::Array array = rt::view_array(
        artifact, {.id = {}, .slice = {}, .tensor = file.ends_with(".npy") ? "" : tensor});
    return keep_tensor(rt::to_tensor(array), tensor.empty() ? file : tensor, "loaded from " + file);
  } catch (const rt::Error& e) {
    throw ToolError("arguments.file: " + std::string(e.what()));
  }
}

}  // namespace

void expose_tensor_files(Interface& interface) {
  const std::string setting = interface.option("workspace");
  interface.expose(
      {.name = "save_tensor",
       .description = "Save tensors as a file in the workspace folder, for NumPy (.npy, one "
                      "tensor) or safetensors (.safetensors, several by name).",
       .annotations = mcp::ToolAnnotations{.title = "Save tensors",
                                           .readOnlyHint = false,
                                           .destructiveHint = true,
                                           .openWorldHint = false}},
      [setting](const std::map<std::string, std::string>& tensors, const std::string& file,
                bool overwrite, Context& context) {
        return save(tensors, file, overwrite, workspace_of(context, setting, kInstead));
      },
      arg("tensors", "URIs by the name that each has in the file: {\"fear\": \"gpumcp://…\"}."),
      arg("file", "Name below the workspace folder, ending with .npy or .safetensors.")
          .min_length(1)
          .max_length(1000),
      arg("overwrite", "Replace a file that is there.", false));
  interface.expose(
      {.name = "load_tensor",
       .description = "Load a tensor from an .npy or .safetensors file in the workspace folder, "
                      "for other tools to use by its uri.",
       .annotations = tensor_tool("Load a tensor")},
      [setting](const std::string& file, const std::string& tensor, Context& context) {
        return with_link(load(file, tensor, workspace_of(context, setting, kInstead)));
      },
      arg("file", "Name below the workspace folder.").min_length(1).max_length(1000),
      arg("tensor", "Of a .safetensors file with several: which one.", ""));
}

}  // namespace gpumcp::interfaces
