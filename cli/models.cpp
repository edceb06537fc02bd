// gpumcp models: what lies in the stores, whether this build runs it, and what the workers that run
// now hold of it. Reads small files and headers; wakes nothing.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cli/command.h"
#include "cli/progress.h"
#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/model_store.h"
#include "gpu_runtime/model_types.h"
#include "sandbox/launcher.h"

namespace gpumcp::cli {
namespace fs = std::filesystem;
using namespace gpu_runtime;
namespace {

struct Listed {
  std::string name, type, dtype, folder, store, state, problem;
  uint64_t bytes = 0, parameters = 0;
};

bool begins_with(const fs::path& path, const fs::path& folder) {
  return !folder.empty() &&
         std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first ==
             folder.end();
}

std::string store_of(const fs::path& folder, const ModelStoreOptions& options) {
  if (begins_with(folder, options.models)) return "GPUMCP_MODELS";
  if (begins_with(folder, options.cache)) return "gpumcp";
  return "huggingface";
}

// Why the model does not run here, or empty.
std::string problem_of(const ModelPath& path, Listed& out) try {
  const ModelConfig config = ModelConfig::from_pretrained(path.require());
  out.type = config.model_type();
  const Checkpoint weights = Checkpoint::open(path.folder);
  std::map<std::string, uint64_t> by_dtype;
  for (const auto& tensor : weights.tensors()) {
    by_dtype[std::string(to_string(tensor.info->dtype))] += tensor.info->nbytes;
    uint64_t n = 1;
    for (const int64_t size : tensor.info->shape) n *= static_cast<uint64_t>(size);
    out.parameters += n;
  }
  out.bytes = weights.nbytes();
  uint64_t most = 0;
  for (const auto& [dtype, bytes] : by_dtype) {
    if (bytes >= most) out.dtype = dtype;
    most = std::max(most, bytes);
  }
  if (std::ranges::find(kModelTypes, out.type) == kModelTypes.end())
    return fmt::format("model_type \"{}\" is not supported (supported: {})", out.type,
                       fmt::join(kModelTypes, ", "));
  return "";
} catch (const gpu_runtime::Error& e) {
  return e.what();
}

// Folder -> "hot on cpu" and the like, of all workers that run now.
std::map<std::string, std::string> states_by_folder() {
  std::map<std::string, std::string> states;
  for (const auto& runtime : sandbox::RuntimeFolder::list()) {
    const auto connection = runtime.read_connection();
    if (!connection) continue;
    auto client =
        sandbox::connect_worker(*connection, {.connect_timeout = std::chrono::seconds(3)});
    if (!client) continue;
    const auto text = (*client)->request("gpumcp/status", "", {.timeout = std::chrono::seconds(3)});
    if (!text) continue;
    const mcp::Json status = mcp::Json::parse(*text);
    if (!status.contains("models")) continue;
    for (const auto& model : status["models"]) {
      const std::string state = model.value("state", "cold");
      std::string& known = states[model.value("folder", "")];
      if (state != "cold" || known.empty())
        known =
            state == "cold" ? "cold" : fmt::format("{} on {}", state, model.value("device", ""));
    }
  }
  return states;
}

std::string count_text(uint64_t n) {
  if (n >= 1'000'000'000) return fmt::format("{:.1f} B", static_cast<double>(n) / 1e9);
  if (n >= 1'000'000) return fmt::format("{:.0f} M", static_cast<double>(n) / 1e6);
  return n == 0 ? "" : std::to_string(n);
}

int run_models(bool json) {
  const ModelStoreOptions options = ModelStoreOptions::from_process();
  const auto states = states_by_folder();
  std::vector<Listed> all;
  for (const ModelPath& path : ModelStore(options).list()) {
    Listed one{
        .name = path.name, .folder = path.folder.string(), .store = store_of(path.folder, options)};
    one.problem = problem_of(path, one);
    const auto state = states.find(one.folder);
    one.state = state == states.end() ? "cold" : state->second;
    all.push_back(std::move(one));
  }
  if (json) {
    mcp::Json out = mcp::Json::array();
    for (const Listed& one : all) {
      mcp::Json entry = {
          {"name", one.name},   {"model_type", one.type}, {"parameters", one.parameters},
          {"dtype", one.dtype}, {"bytes", one.bytes},     {"supported", one.problem.empty()},
          {"state", one.state}, {"store", one.store},     {"folder", one.folder}};
      if (!one.problem.empty()) entry["problem"] = one.problem;
      out.push_back(std::move(entry));
    }
    fmt::print("{}\n", out.dump(2));
    return kOk;
  }
  if (all.empty()) {
    fmt::print("no model is here; gpumcp pull sentence-transformers/all-MiniLM-L6-v2 gets one\n");
    return kOk;
  }
  size_t width = 4;
  for (const Listed& one : all) width = std::max(width, one.name.size());
  fmt::print("{:<{}}  {:<12} {:>7}  {:<8} {:>8}  {:<12} {}\n", "NAME", width, "TYPE", "PARAMS",
             "DTYPE", "SIZE", "STATE", "STORE");
  for (const Listed& one : all) {
    fmt::print("{:<{}}  {:<12} {:>7}  {:<8} {:>8}  {:<12} {}\n", one.name, width, one.type,
               count_text(one.parameters), one.dtype, one.bytes == 0 ? "" : bytes_text(one.bytes),
               one.problem.empty() ? one.state : "does not run", one.store);
    if (!one.problem.empty()) fmt::print("    {}\n", one.problem);
  }
  return kOk;
}

}  // namespace

Command models_command() {
  return {
      "models", "list the models on this machine: type, size, whether they run, hot or cold",
      "  gpumcp models\n"
      "  gpumcp models --json | jq -r '.[] | select(.supported) | .name'\n"
      "Looked at: $GPUMCP_MODELS, ~/.cache/gpumcp/models (gpumcp pull), the Hugging Face cache.\n"
      "hot: a worker that runs now holds its weights; cold: the next call loads them.",
      [](CLI::App& app, const std::vector<std::string>&) {
        auto json = std::make_shared<bool>(false);
        app.add_flag("--json", *json, "print everything as JSON");
        return [json] { return run_models(*json); };
      }};
}

}  // namespace gpumcp::cli
