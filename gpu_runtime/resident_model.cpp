#include "gpu_runtime/resident_model.h"

#include "gpu_runtime/checkpoint.h"
#include "gpu_runtime/device.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/runtime.h"

namespace gpumcp::gpu_runtime {

ResidentModel::ResidentModel(Runtime& runtime, ModelPath path, ModelOptions options)
    : runtime_(runtime), path_(std::move(path)), options_(std::move(options)) {}

ResidentModel::~ResidentModel() {
  if (executor_) runtime_.held().release();
}

std::filesystem::path ResidentModel::folder() {
  if (path_.found()) return path_.require();
  return runtime_.find_model(path_.name).require();  // it may have been pulled meanwhile
}

c10::Device ResidentModel::device() {
  return resolve_device(options_.device.empty() ? runtime_.options().device : options_.device);
}

const ModelConfig& ResidentModel::config() {
  std::scoped_lock lock(files_mutex_);
  if (!config_) config_.emplace(ModelConfig::from_pretrained(folder()));
  return *config_;
}

const SentenceTransformerConfig& ResidentModel::sentence_config() {
  std::scoped_lock lock(files_mutex_);
  if (!sentence_config_)
    sentence_config_.emplace(SentenceTransformerConfig::from_pretrained(folder()));
  return *sentence_config_;
}

const GenerationConfig& ResidentModel::generation_config() {
  std::scoped_lock lock(files_mutex_);
  if (!generation_config_) generation_config_.emplace(GenerationConfig::from_pretrained(folder()));
  return *generation_config_;
}

const Tokenizer& ResidentModel::tokenizer() {
  std::scoped_lock lock(files_mutex_);
  if (!tokenizer_) tokenizer_.emplace(Tokenizer::from_pretrained(folder()));
  return *tokenizer_;
}

std::shared_ptr<ModelExecutor> ResidentModel::begin_call() {
  std::unique_lock lock(mutex_);
  std::shared_ptr<ModelExecutor> failed;
  if (executor_ && executor_->load_failed()) {
    failed = std::move(executor_);
    runtime_.held().release();
  }
  if (!executor_) {
    const c10::Device on = device();
    ModelExecutorOptions options = runtime_.options().executor;
    options.name = path_.name.empty() ? path_.folder.string() : path_.name;
    options.num_threads = runtime_.options().num_threads;
    // On a CPU a larger batch is no faster, and makes others wait longer.
    if (options.token_budget <= 0) options.token_budget = on.is_cpu() ? 2048 : 16384;
    executor_ = std::make_shared<ModelExecutor>(
        [this, on] {
          const std::filesystem::path from = folder();
          auto model = runtime_.options().loader(from, on, options_.dtype);
          std::uint64_t nbytes = 0;
          try {
            nbytes = Checkpoint::open(from).nbytes();
          } catch (const Error&) {  // a loader of a test reads no files
          }
          std::scoped_lock inner(mutex_);
          nbytes_ = nbytes;
          return model;
        },
        options);
    ++loads_;
    runtime_.held().hold();
  }
  ++in_use_;
  return executor_;
}

void ResidentModel::end_call() {
  std::shared_ptr<ModelExecutor> failed;  // destroyed after the lock: that joins its thread
  {
    std::scoped_lock lock(mutex_);
    --in_use_;
    last_used_ = runtime_.now();
    if (executor_ && executor_->load_failed()) {
      failed = std::move(executor_);
      ++failed_loads_;
      runtime_.held().release();
    } else if (executor_) {
      last_load_ms_ = executor_->load_ms();
    }
  }
  runtime_.model_used();
}

template <class F>
auto ResidentModel::with_executor(F&& f) {
  std::shared_ptr<ModelExecutor> executor = begin_call();
  struct End {
    ResidentModel& model;
    std::shared_ptr<ModelExecutor>& executor;
    ~End() {
      executor.reset();  // the registry's is the last reference, so that unloading joins where it
                         // is meant to
      model.end_call();
    }
  } end{*this, executor};
  const bool cold = !executor->loaded();
  auto result = f(*executor);
  if (CallScope* scope = CallScope::current()) {
    Usage& usage = scope->usage();
    usage.queue_ms += result.queue_ms;
    usage.load_ms += result.load_ms;
    usage.gpu_ms += result.gpu_ms;
    usage.batch_size = std::max(usage.batch_size, result.batch_size);
    usage.tokens += result.tokens;
    usage.cold = usage.cold || cold;
    usage.gpu_held_s = runtime_.held_s();
  }
  return result;
}

ModelResult ResidentModel::run(std::vector<TokenRow> rows, const Want& want) {
  const CallLimits limits = CallScope::current_limits();
  return with_executor(
      [&](ModelExecutor& executor) { return executor.run(std::move(rows), want, limits); });
}

GenerationResult ResidentModel::generate(
    std::vector<GenerationRequest> requests,
    const std::function<void(const GenerationEvent&)>& on_event) {
  const CallLimits limits = CallScope::current_limits();
  return with_executor([&](ModelExecutor& executor) {
    return executor.generations().run(std::move(requests), limits, on_event);
  });
}

bool ResidentModel::unload_if_idle(SteadyTime before) {
  std::shared_ptr<ModelExecutor> gone;
  {
    std::scoped_lock lock(mutex_);
    if (!executor_ || in_use_ > 0 || last_used_ > before) return false;
    gone = std::move(executor_);
    ++unloads_;
  }
  gone.reset();  // frees the weights and joins, while others may already load anew
  runtime_.held().release();
  return true;
}

std::optional<SteadyTime> ResidentModel::idle_since() const {
  std::scoped_lock lock(mutex_);
  if (!executor_ || in_use_ > 0) return std::nullopt;
  return last_used_;
}

bool ResidentModel::hot() const {
  std::scoped_lock lock(mutex_);
  return executor_ && executor_->loaded();
}

Json ResidentModel::status() const {
  std::scoped_lock lock(mutex_);
  const bool loading = executor_ && !executor_->loaded() && !executor_->load_failed();
  const ExecutorStats stats = executor_ ? executor_->stats() : ExecutorStats{};
  const GenerationStats texts = executor_ ? executor_->generations().stats() : GenerationStats{};
  return {{"name", path_.name},
          {"folder", path_.folder.string()},
          {"device", options_.device.empty() ? runtime_.options().device : options_.device},
          {"dtype", options_.dtype},
          {"state", loading     ? "loading"
                    : executor_ ? "hot"
                                : "cold"},
          {"bytes", nbytes_},
          {"loads", loads_},
          {"unloads", unloads_},
          {"failed_loads", failed_loads_},
          {"last_load_ms", last_load_ms_},
          {"calls", in_use_},
          {"queue_depth", stats.waiting_calls + texts.waiting},
          {"generating", texts.running},
          {"generated_tokens", texts.new_tokens},
          {"batches", stats.batches},
          {"rows", stats.rows},
          {"tokens", stats.tokens}};
}

}  // namespace gpumcp::gpu_runtime
