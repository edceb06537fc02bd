#pragma once

// A model that handles share: its folder, and its weights while they are needed.
//
//   cold ──first call──▶ loading ──▶ hot ──idle, or others need its room──▶ warm ──idle──▶ cold
//    ▲                     │                                                  │ call
//    └── fails, or nobody ─┘                                   hot ◀──────────┘
//        waits any more
//
// cold: on the disk. hot: on the device, with an executor. warm: ready to become hot again without
// the disk. On a GPU that is a copy of the files in pinned host memory, where its limit has room
// for one; on a CPU, whose device memory is the host's, the checked and open files, whose pages the
// system keeps as long as nothing else needs them. The first callers start one load and wait for it
// together (their calls gather in the executor's queue); a failed load is every waiting call's
// error, and the next call tries again. Never unloaded under a call. Thread-safe; owned by the
// Runtime's registry and by handles; the Runtime outlives it.
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/export.h"
#include "gpu_runtime/held_time.h"
#include "gpu_runtime/json.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/model_executor.h"
#include "gpu_runtime/model_loader.h"
#include "gpu_runtime/model_store.h"
#include "gpu_runtime/residency.h"
#include "gpu_runtime/template/chat_template.h"
#include "gpu_runtime/tokenizer.h"

namespace gpumcp::gpu_runtime {

class Runtime;

struct ModelOptions {
  std::string device;          // "" is the runtime's own
  std::string dtype = "auto";  // float32 on the CPU, on a GPU config.json's (bfloat16 where that is
                               // float32 and the model large); or float32, float16, bfloat16
  std::string load_as = "auto";  // or native, aoti, torchscript (model_loader.h)
  // Until it is unloaded after the last call; nothing: as the runtime says.
  std::optional<std::chrono::milliseconds> idle;
  bool pin = false;  // once loaded it stays
};

class GPUMCP_RUNTIME_API ResidentModel : public std::enable_shared_from_this<ResidentModel> {
 public:
  ResidentModel(Runtime& runtime, ModelPath path, ModelOptions options);
  ResidentModel(const ResidentModel&) = delete;
  ResidentModel& operator=(const ResidentModel&) = delete;
  ~ResidentModel();

  // Loads if need be, runs, and adds to the thread's CallScope. Throws Error.
  ModelResult run(std::vector<TokenRow> rows, const Want& want);
  // The same for texts to continue (generation/generation_queue.h says what on_event is).
  GenerationResult generate(std::vector<GenerationRequest> requests,
                            const std::function<void(const GenerationEvent&)>& on_event);

  // Read at the first use and kept: small, and needed without the weights. A failure is tried again
  // by the next use.
  const ModelConfig& config();
  const SentenceTransformerConfig& sentence_config();
  const GenerationConfig& generation_config();
  const ChatTemplate& chat_template();  // Error(unsupported): it has none
  const Tokenizer& tokenizer();
  c10::Device device();
  // What the weights' type is on that device, or will be: "float32".
  std::string used_dtype();

  const ModelPath& path() const { return path_; }
  std::string name() const { return path_.name.empty() ? path_.folder.string() : path_.name; }

  // Another handle's wishes: it stays for the longest that any asks for.
  void also(const ModelOptions& options);

  // hot → warm, when no call uses it and the last one ended at or before `before`. True: the
  // device's memory is free.
  bool unload_if_idle(SteadyTime before);
  // warm → cold, likewise.
  bool forget_if_idle(SteadyTime before);
  // When the next of the two is due; nothing: not before something happens.
  std::optional<SteadyTime> next_step() const;
  // Takes the steps that are due by `now`; true: a device's memory became free.
  bool step(SteadyTime now);

  bool hot() const;
  // {"name", "folder", "device", "dtype", "state", "bytes", "host_bytes", "pinned", …}
  Json status() const;

 private:
  // What it holds: weights on the device, and a copy of them in host memory.
  class Weights final : public Tenant {
   public:
    explicit Weights(ResidentModel& model) : model_(model) {}
    std::string tenant_name() const override { return model_.name(); }
    std::optional<SteadyTime> idle_since() const override;
    bool pinned() const override;
    bool evict() override { return model_.unload_if_idle(SteadyTime::max()); }
    void make_way(bool yes) override;

   private:
    ResidentModel& model_;
  };
  class HostCopy final : public Tenant {
   public:
    explicit HostCopy(ResidentModel& model) : model_(model) {}
    std::string tenant_name() const override { return model_.name() + " (warm copy)"; }
    std::optional<SteadyTime> idle_since() const override;
    bool pinned() const override { return false; }
    bool evict() override { return model_.drop_host_copy(); }
    void make_way(bool) override {}  // can go at any time

   private:
    ResidentModel& model_;
  };

  std::string dtype() const;       // as the handle says, else the runtime's options for this model
  std::filesystem::path folder();  // looks again for a model that was not there before
  std::shared_ptr<ModelExecutor> begin_call(const CallLimits& limits);
  void end_call();
  // f(executor) between begin_call() and end_call(); what it cost goes to the thread's CallScope.
  template <class F>
  auto with_executor(F&& f);
  std::unique_ptr<BatchModel> load(c10::Device on, const StillWanted& wanted);
  std::unique_ptr<BatchModel> try_load(const LoadRequest& request);
  std::optional<Checkpoint> open_weights(const std::filesystem::path& from);
  std::shared_ptr<const HostWeights> host_copy(const Checkpoint& checkpoint,
                                               const StillWanted& wanted);
  bool drop_host_copy();
  bool hot_or_loading() const;
  std::optional<std::chrono::milliseconds> idle_limit() const;
  // What is held beside the weights: caches of texts that are generated, adapters. False: there is
  // no room for so much. Called by the owner thread.
  bool hold_beside(c10::Device on, std::int64_t cache_bytes, std::int64_t adapter_bytes);
  std::shared_ptr<Tenant> weights() { return {shared_from_this(), &weights_}; }

  Runtime& runtime_;
  const ModelPath path_;
  const ModelOptions options_;
  Weights weights_{*this};
  HostCopy host_copy_tenant_{*this};

  std::mutex files_mutex_;
  // Guarded by files_mutex_ while they are read in; never change after:
  std::optional<ModelConfig> config_;
  std::optional<SentenceTransformerConfig> sentence_config_;
  std::optional<GenerationConfig> generation_config_;
  std::optional<ChatTemplate> chat_template_;
  std::optional<Tokenizer> tokenizer_;

  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  // Guarded by mutex_:
  std::shared_ptr<ModelExecutor> executor_;
  std::optional<Checkpoint> checkpoint_;  // while warm or hot
  std::shared_ptr<const HostWeights> host_copy_;
  std::optional<c10::Device> on_;  // where it was last loaded
  int in_use_ = 0;
  bool making_way_ = false, leaving_ = false, pin_ = false;
  std::optional<std::chrono::milliseconds> idle_;
  SteadyTime last_used_{};
  std::uint64_t loads_ = 0, unloads_ = 0, failed_loads_ = 0, wakes_ = 0, nbytes_ = 0;
  std::int64_t cache_bytes_ = 0, adapter_bytes_ = 0;
  double last_load_ms_ = 0;
};

}  // namespace gpumcp::gpu_runtime
