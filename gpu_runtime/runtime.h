#pragma once

// All models of this process, and what they share: the device and its memory, the artifacts, the
// time they held it.
//
// Runtime::current() is the one that handles use when none is named:
// `AutoModel::from_pretrained(path)` in an author's file has no runtime parameter, and a worker has
// one device and one set of models by nature. Tests make their own. Thread-safe; it must outlive
// the handles made with it. Destruction unloads every model (their calls must have ended).
#include <chrono>
#include <condition_variable>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <tuple>

#include "gpu_runtime/artifacts.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/held_time.h"
#include "gpu_runtime/json.h"
#include "gpu_runtime/model_executor.h"
#include "gpu_runtime/model_loader.h"
#include "gpu_runtime/model_store.h"
#include "gpu_runtime/residency.h"
#include "gpu_runtime/resident_model.h"

namespace gpumcp::gpu_runtime {

// A LoRA adapter: a model's name that means another model with it.
struct AdapterSource {
  std::filesystem::path folder;
  std::string base = {};  // the other model's name; "": the one that the adapter's files name
};

struct RuntimeOptions {
  std::string device = "auto";                                   // auto, cpu, cuda, cuda:N
  std::map<std::string, std::filesystem::path> model_overrides;  // --model NAME=FOLDER
  std::map<std::string, AdapterSource> adapters = {};            // by name
  std::string default_model;
  int num_threads = 0;  // CPU threads of a kernel; 0: GPUMCP_THREADS, else the physical cores
  // Of a model's weights on the device; nothing: never; 0: after each call.
  std::optional<std::chrono::milliseconds> model_idle = std::chrono::seconds(60);
  std::map<std::string, std::optional<std::chrono::milliseconds>> model_idle_of;  // by name
  std::map<std::string, std::string> dtype_of = {};  // by name, where a handle says "auto"
  std::set<std::string> pinned_models;               // by name: once loaded they stay
  // How long an unloaded model stays warm.
  std::optional<std::chrono::milliseconds> warm_idle = std::chrono::minutes(10);
  // Bytes that weights may take on each GPU, and in host memory (all of them on a CPU). Nothing:
  // nine tenths of what is free when the first model comes; three quarters of the machine's, or of
  // the cgroup's.
  std::optional<std::uint64_t> device_memory, host_memory;
  ArtifactStoreOptions artifacts;
  // A store that others put into as well; empty: one of the runtime's own, made from `artifacts`.
  std::shared_ptr<ArtifactStore> artifact_store;
  // A time that others hold as well; empty: one of the runtime's own.
  std::shared_ptr<HeldTime> held;
  ModelExecutorOptions executor{.token_budget = 0};  // 0: 2,048 on a CPU, 16,384 on a GPU

  // For tests.
  ModelLoader loader = load_model;
  std::function<std::uint64_t(const LoadRequest&)> measure = measure_model;
  bool reads_files = true;   // false: the loader is a fake that has none
  bool host_copies = false;  // warm copies in memory on a CPU too
  SteadyClock clock = [] { return std::chrono::steady_clock::now(); };
  bool reaper = true;  // a thread that calls sweep() in time
};

class GPUMCP_RUNTIME_API Runtime {
 public:
  static Runtime& current();

  explicit Runtime(RuntimeOptions options = {});
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;
  ~Runtime();

  // Replaces the options. Error(invalid_argument) for a bad one, and once a model was used or an
  // artifact kept.
  void configure(RuntimeOptions options);
  const RuntimeOptions& options() const { return options_; }

  // The shared model behind handles on one (folder, dtype, device). Does not touch the disk.
  std::shared_ptr<ResidentModel> model(const ModelPath& path, const ModelOptions& options = {});

  // By name: overrides, $GPUMCP_MODELS, the store, the Hugging Face cache. "" is the default model.
  // For an adapter's name it is its base.
  ModelPath find_model(const std::string& name) const;

  bool is_adapter(const std::string& name) const { return options_.adapters.contains(name); }
  // Read at its first use, and shared while a model holds it. Error(not_found) names those that
  // there are; the folder's own errors are LoraAdapter::open()'s.
  std::shared_ptr<const LoraAdapter> adapter(const std::string& name);

  ArtifactStore& artifacts() { return *artifacts_; }
  std::shared_ptr<ArtifactStore> artifact_store() const { return artifacts_; }

  // Since the process began: the time in which any model's weights were held.
  double held_s() const;

  // {"device", "held_s", "models": [ResidentModel::status()…], "memory": Residency::status(),
  // "process": {"resident_bytes"}, "artifacts": {…}}. Wakes nothing and waits for no batch.
  Json status();

  // Takes the steps down, hot to warm to cold, that are due; returns how many models left the
  // device. The reaper's work, and a test's.
  std::size_t sweep();
  // Makes every model cold that no call uses, whatever its age.
  std::size_t unload_all();
  // Who holds what; what else needs memory of a device (caches of keys and values) asks here too.
  Residency& residency() { return *residency_; }

  // For ResidentModel.
  SteadyTime now() const { return options_.clock(); }
  HeldTime& held() { return *held_; }
  void model_used(std::optional<SteadyTime> next_step);

 private:
  // Folder or name, dtype, device, load_as.
  using Key = std::tuple<std::string, std::string, std::string, std::string>;
  std::vector<std::shared_ptr<ResidentModel>> models();
  void reaper_loop(std::stop_token stop);

  RuntimeOptions options_;  // fixed from the first use on
  std::shared_ptr<HeldTime> held_;
  std::unique_ptr<Residency> residency_;
  std::shared_ptr<ArtifactStore> artifacts_;

  std::mutex mutex_;
  std::condition_variable_any used_;
  // Guarded by mutex_:
  std::map<Key, std::shared_ptr<ResidentModel>> models_;
  std::map<std::string, std::weak_ptr<const LoraAdapter>> adapters_;
  bool in_use_ = false;
  SteadyTime wake_at_ = SteadyTime::max();  // when the reaper looks next
  std::jthread reaper_;
};

}  // namespace gpumcp::gpu_runtime
