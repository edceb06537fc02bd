#pragma once

// Finds models by name on this machine. The order: the caller's NAME=FOLDER overrides,
// $GPUMCP_MODELS/NAME, ${GPUMCP_CACHE:-~/.cache/gpumcp}/models/ORG--NAME, and the Hugging Face
// cache
// (${HF_HOME:-~/.cache/huggingface}/hub/models--ORG--NAME/snapshots, refs/main's first, else the
// newest). A name is checked so that it cannot lead out of these places. Immutable after
// construction, so any thread may ask; each find() looks at the disk afresh.
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "gpu_runtime/export.h"

namespace gpumcp::gpu_runtime {

// A model's name and where it lies, or every place that was looked at. Asking for a model that is
// not there is no error until require(): a tool list can name models that are still to be pulled.
struct GPUMCP_RUNTIME_API ModelPath {
  ModelPath() = default;
  // A folder's path ("./model", "/data/model", any existing folder with a config.json), a module's
  // file ("./model.pt2"), or else a name for the default store. Implicit, so that
  // AutoModel::from_pretrained("org/name") reads as in Python.
  ModelPath(const std::string& folder_or_name);            // NOLINT(google-explicit-constructor)
  ModelPath(const char* folder_or_name);                   // NOLINT(google-explicit-constructor)
  ModelPath(const std::filesystem::path& folder_or_name);  // NOLINT(google-explicit-constructor)

  std::string name;
  std::filesystem::path folder;       // empty: not found
  std::vector<std::string> searched;  // every place looked at, in order

  bool found() const { return !folder.empty(); }

  // The folder, with a config.json in it, or the file. Error(not_found) names every place and
  // `gpumcp pull NAME`; a folder without config.json is told apart ("half downloaded").
  const std::filesystem::path& require() const;
};

// Where to look; from_process() reads the environment once.
struct GPUMCP_RUNTIME_API ModelStoreOptions {
  std::map<std::string, std::filesystem::path> overrides;  // --model NAME=FOLDER
  std::filesystem::path models;                            // $GPUMCP_MODELS; empty: not set
  std::filesystem::path cache;                             // ${GPUMCP_CACHE:-~/.cache/gpumcp}
  std::filesystem::path hugging_face;                      // ${HF_HOME:-~/.cache/huggingface}

  using GetEnv = std::function<std::optional<std::string>(const std::string&)>;
  static ModelStoreOptions from_process();
  static ModelStoreOptions from_environment(const GetEnv& get_env);
};

class GPUMCP_RUNTIME_API ModelStore {
 public:
  explicit ModelStore(ModelStoreOptions options = ModelStoreOptions::from_process());
  explicit ModelStore(std::map<std::string, std::filesystem::path> overrides);

  // Error(invalid_argument) when the name is none that a model can have.
  ModelPath find(std::string_view name) const;

  // Every model that find() would give, by name.
  std::vector<ModelPath> list() const;

  // Where `gpumcp pull NAME` puts it: cache/models/ORG--NAME.
  std::filesystem::path pull_folder(std::string_view name) const;

 private:
  ModelStoreOptions options_;
};

// Checks "name" or "org/name": Hugging Face's characters, no "..", no leading '.' or '-', at most
// 96 characters a part. Error(invalid_argument) names what is wrong.
GPUMCP_RUNTIME_API void check_model_name(std::string_view name);

}  // namespace gpumcp::gpu_runtime
