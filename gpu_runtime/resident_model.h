#pragma once

// A model that handles share: its folder, and its weights while they are needed. Cold until the
// first call, hot until it has idled; the first callers start one load and wait for it together
// (their calls gather in the executor's queue). A failed load is every waiting call's error, and
// the next call tries again. Thread-safe; owned by the Runtime's registry and by handles; the
// Runtime outlives it.
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "gpu_runtime/export.h"
#include "gpu_runtime/held_time.h"
#include "gpu_runtime/json.h"
#include "gpu_runtime/model_config.h"
#include "gpu_runtime/model_executor.h"
#include "gpu_runtime/model_store.h"
#include "gpu_runtime/tokenizer.h"

namespace gpumcp::gpu_runtime {

class Runtime;

struct ModelOptions {
  std::string device;  // "" is the runtime's own
  std::string dtype =
      "auto";  // float32 on the CPU, else config.json's; or float32, float16, bfloat16
};

class GPUMCP_RUNTIME_API ResidentModel {
 public:
  ResidentModel(Runtime& runtime, ModelPath path, ModelOptions options);
  ResidentModel(const ResidentModel&) = delete;
  ResidentModel& operator=(const ResidentModel&) = delete;
  ~ResidentModel();

  // Loads if cold, runs, and adds to the thread's CallScope. Throws Error.
  ModelResult run(std::vector<TokenRow> rows, const Want& want);
  // The same for texts to continue (generation/generation_queue.h says what on_event is).
  GenerationResult generate(std::vector<GenerationRequest> requests,
                            const std::function<void(const GenerationEvent&)>& on_event);

  // Read at the first use and kept: small, and needed without the weights. A failure is tried again
  // by the next use.
  const ModelConfig& config();
  const SentenceTransformerConfig& sentence_config();
  const GenerationConfig& generation_config();
  const Tokenizer& tokenizer();
  c10::Device device();

  const ModelPath& path() const { return path_; }

  // Drops the weights when no call uses them and the last one ended at or before `before`. True:
  // they are gone.
  bool unload_if_idle(SteadyTime before);
  // When the last call ended; nothing while cold or in use.
  std::optional<SteadyTime> idle_since() const;
  bool hot() const;
  Json status() const;

 private:
  std::filesystem::path folder();  // looks again for a model that was not there before
  std::shared_ptr<ModelExecutor> begin_call();
  void end_call();
  // f(executor) between begin_call() and end_call(); what it cost goes to the thread's CallScope.
  template <class F>
  auto with_executor(F&& f);

  Runtime& runtime_;
  const ModelPath path_;
  const ModelOptions options_;

  std::mutex files_mutex_;
  // Guarded by files_mutex_ while they are read in; never change after:
  std::optional<ModelConfig> config_;
  std::optional<SentenceTransformerConfig> sentence_config_;
  std::optional<GenerationConfig> generation_config_;
  std::optional<Tokenizer> tokenizer_;

  mutable std::mutex mutex_;
  // Guarded by mutex_:
  std::shared_ptr<ModelExecutor> executor_;
  int in_use_ = 0;
  SteadyTime last_used_{};
  std::uint64_t loads_ = 0, unloads_ = 0, failed_loads_ = 0, nbytes_ = 0;
  double last_load_ms_ = 0;
};

}  // namespace gpumcp::gpu_runtime
