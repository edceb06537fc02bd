#include "gpu_runtime/resident_model.h"

#include <algorithm>

#include "gpu_runtime/device.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/model_loader.h"
#include "gpu_runtime/models/registry.h"
#include "gpu_runtime/runtime.h"
#include "gpu_runtime/weight_reader.h"
#include "gpu_runtime/weights.h"

namespace gpumcp::gpu_runtime {

namespace {

std::optional<std::chrono::milliseconds> longer(std::optional<std::chrono::milliseconds> a,
                                                std::optional<std::chrono::milliseconds> b) {
  return a && b ? std::max(*a, *b) : a ? a : b;
}

}  // namespace

ResidentModel::ResidentModel(Runtime& runtime, ModelPath path, ModelOptions options)
    : runtime_(runtime), path_(std::move(path)), options_(std::move(options)) {
  also(options_);
  const RuntimeOptions& all = runtime_.options();
  if (all.pinned_models.contains(path_.name)) pin_ = true;
}

ResidentModel::~ResidentModel() {
  if (executor_) {
    executor_.reset();
    runtime_.held().release();
  }
  if (on_) runtime_.residency().release(weights_, *on_);
  runtime_.residency().release(host_copy_tenant_, c10::kCPU);
}

void ResidentModel::also(const ModelOptions& options) {
  std::scoped_lock lock(mutex_);
  pin_ = pin_ || options.pin;
  idle_ = longer(idle_, options.idle);
}

std::string ResidentModel::dtype() const {
  const auto& named = runtime_.options().dtype_of;
  const auto own = named.find(path_.name);
  return options_.dtype == "auto" && own != named.end() ? own->second : options_.dtype;
}

std::string ResidentModel::used_dtype() {
  const c10::Device on = device();
  const std::uint64_t parameters = on.is_cpu() ? 0 : count_parameters(Checkpoint::open(folder()));
  return std::string(to_string(checkpoint_dtype(choose_dtype(dtype(), config(), on, parameters))));
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

const ChatTemplate& ResidentModel::chat_template() {
  std::scoped_lock lock(files_mutex_);
  if (!chat_template_) chat_template_.emplace(ChatTemplate::from_pretrained(folder()));
  return *chat_template_;
}

const Tokenizer& ResidentModel::tokenizer() {
  std::scoped_lock lock(files_mutex_);
  if (!tokenizer_) tokenizer_.emplace(Tokenizer::from_pretrained(folder()));
  return *tokenizer_;
}

std::shared_ptr<ModelExecutor> ResidentModel::begin_call(const CallLimits& limits) {
  std::unique_lock lock(mutex_);
  // Others wait for its room: it is let go first, and this call then waits for room in its turn.
  auto gone = [&] { return !leaving_ && !(making_way_ && executor_); };
  while (!gone()) {
    if (limits.deadline) {
      changed_.wait_until(lock, limits.stop, *limits.deadline, gone);
    } else {
      changed_.wait(lock, limits.stop, gone);
    }
    if (limits.stop.stop_requested()) throw Error(ErrorCode::cancelled, "the call was cancelled");
    if (limits.deadline && *limits.deadline <= std::chrono::steady_clock::now() && !gone()) {
      throw Error(ErrorCode::deadline,
                  "the call's deadline passed while it waited for model " + name());
    }
  }
  std::shared_ptr<ModelExecutor> failed;
  if (executor_ && executor_->load_failed()) {
    failed = std::move(executor_);
    runtime_.held().release();
  }
  if (!executor_) {
    const c10::Device on = device();
    ModelExecutorOptions options = runtime_.options().executor;
    options.name = name();
    options.num_threads = runtime_.options().num_threads;
    // On a CPU a larger batch is no faster, and makes others wait longer.
    if (options.token_budget <= 0) options.token_budget = on.is_cpu() ? 2048 : 16384;
    // For a CPU the caches of idle models are the same memory; for a GPU the allocator keeps
    // blocks.
    options.free_memory = [this, on] {
      runtime_.residency().evict_idle(on, &weights_);
      release_cached_memory(on);
    };
    options.explain_memory = [this, on] { return runtime_.residency().explain(on); };
    options.generation.explain_memory = options.explain_memory;
    options.generation.hold_memory = [this, on](std::int64_t bytes) {
      return hold_beside(on, bytes, adapter_bytes_);
    };
    executor_ = std::make_shared<ModelExecutor>(
        [this, on](const StillWanted& wanted) { return load(on, wanted); }, options);
    ++loads_;
    wakes_ += checkpoint_ ? 1 : 0;
    on_ = on;
    runtime_.held().hold();
  }
  ++in_use_;
  return executor_;
}

// On the owner thread.
std::unique_ptr<BatchModel> ResidentModel::load(c10::Device on, const StillWanted& wanted) {
  Residency& residency = runtime_.residency();
  LoadRequest request{.folder = folder(),
                      .device = on,
                      .dtype = dtype(),
                      .load_as = options_.load_as,
                      .wanted = wanted,
                      .take_memory = [this, on](std::int64_t bytes) {
                        return hold_beside(on, cache_bytes_, adapter_bytes_ + bytes);
                      }};
  request.checkpoint = open_weights(request.folder);
  const std::uint64_t measured = runtime_.options().measure(request);
  residency.acquire(weights(), on, measured, wanted);
  try {
    if (request.checkpoint) {
      auto session = std::make_shared<WeightSession>();
      session->wanted = wanted;
      if (!on.is_cpu() || runtime_.options().host_copies)
        session->host = host_copy(*request.checkpoint, wanted);
      request.checkpoint = request.checkpoint->with(session);
    }
    auto model = try_load(request);
    const std::uint64_t exact = model->nbytes() > 0 ? model->nbytes() : measured;
    residency.settle(weights_, on, exact);
    std::scoped_lock lock(mutex_);
    nbytes_ = exact;
    cache_bytes_ = adapter_bytes_ = 0;
    return model;
  } catch (...) {
    residency.release(weights_, on);
    throw;
  }
}

bool ResidentModel::hold_beside(c10::Device on, std::int64_t cache_bytes,
                                std::int64_t adapter_bytes) {
  std::uint64_t all = static_cast<std::uint64_t>(cache_bytes + adapter_bytes);
  {
    std::scoped_lock lock(mutex_);
    all += nbytes_;
  }
  if (!runtime_.residency().resize(weights_, on, all)) return false;
  std::scoped_lock lock(mutex_);
  cache_bytes_ = cache_bytes;
  adapter_bytes_ = adapter_bytes;
  return true;
}

// Once more, when others have given up what they could, if memory did not suffice.
std::unique_ptr<BatchModel> ResidentModel::try_load(const LoadRequest& request) {
  const ModelLoader& loader = runtime_.options().loader;
  for (const bool last : {false, true}) {
    try {
      return loader(request);
    } catch (...) {
      const std::exception_ptr error = current_error("loading model " + name());
      if (code_of(error) != ErrorCode::out_of_memory) throw;
      if (last) {
        throw Error(ErrorCode::out_of_memory,
                    message_of(error) + ". " + runtime_.residency().explain(request.device));
      }
    }
    runtime_.residency().evict_idle(request.device, &weights_);
    release_cached_memory(request.device);
  }
  return nullptr;  // not reached
}

// The open files, kept from the last load where it was warm. Nothing for what is no folder of
// safetensors: whoever loads it opens it.
std::optional<Checkpoint> ResidentModel::open_weights(const std::filesystem::path& from) {
  {
    std::scoped_lock lock(mutex_);
    if (checkpoint_) return checkpoint_;
  }
  if (!runtime_.options().reads_files ||
      find_model_file(from, options_.load_as).kind != ModelKind::native)
    return std::nullopt;
  check_model_type(ModelConfig::from_pretrained(from));  // the better message comes first
  const Checkpoint checkpoint = Checkpoint::open(from);
  std::scoped_lock lock(mutex_);
  checkpoint_ = checkpoint;
  return checkpoint;
}

// The copy in host memory; null where there is no room for one without anybody's leaving.
std::shared_ptr<const HostWeights> ResidentModel::host_copy(const Checkpoint& checkpoint,
                                                            const StillWanted& wanted) {
  Residency& residency = runtime_.residency();
  {
    const std::shared_ptr<Tenant> tenant(shared_from_this(), &host_copy_tenant_);
    std::scoped_lock lock(mutex_);
    if (host_copy_) return host_copy_;
    if (!residency.try_acquire(tenant, c10::kCPU, checkpoint.nbytes())) return nullptr;
  }
  try {
    auto copy = HostWeights::read(checkpoint, !device().is_cpu(), 0, wanted);
    std::scoped_lock lock(mutex_);
    host_copy_ = copy;
    return copy;
  } catch (...) {
    residency.release(host_copy_tenant_, c10::kCPU);
    throw;
  }
}

// A load that is reading it keeps it alive until it is done.
bool ResidentModel::drop_host_copy() {
  std::scoped_lock lock(mutex_);
  if (!host_copy_) return false;
  host_copy_.reset();
  runtime_.residency().release(host_copy_tenant_, c10::kCPU);
  return true;
}

void ResidentModel::end_call() {
  std::shared_ptr<ModelExecutor> failed;  // destroyed after the lock: that joins its thread
  bool idle = false;
  std::optional<c10::Device> on;
  {
    std::scoped_lock lock(mutex_);
    idle = --in_use_ == 0;
    on = on_;
    last_used_ = runtime_.now();
    if (executor_ && executor_->load_failed()) {
      failed = std::move(executor_);
      ++failed_loads_;
      checkpoint_.reset();  // the files may be mended before the next try
      changed_.notify_all();
      runtime_.held().release();
    } else if (executor_) {
      last_load_ms_ = executor_->load_ms();
    }
  }
  if (idle && on) runtime_.residency().became_idle(*on);
  runtime_.model_used(next_step());
}

template <class F>
auto ResidentModel::with_executor(F&& f) {
  const HeldTime::Share share(runtime_.held());
  std::shared_ptr<ModelExecutor> executor = begin_call(CallScope::current_limits());
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
    usage.gpu_held_s += share.seconds();
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
  c10::Device on = c10::kCPU;
  {
    std::scoped_lock lock(mutex_);
    if (!executor_ || in_use_ > 0 || last_used_ > before) return false;
    gone = std::move(executor_);
    on = *on_;
    ++unloads_;
    making_way_ = false;
    leaving_ = true;  // new calls wait until the room is given back
  }
  gone.reset();  // frees the weights and joins
  runtime_.residency().release(weights_, on);
  runtime_.held().release();
  std::scoped_lock lock(mutex_);
  leaving_ = false;
  changed_.notify_all();
  return true;
}

bool ResidentModel::forget_if_idle(SteadyTime before) {
  std::optional<Checkpoint> gone;
  {
    std::scoped_lock lock(mutex_);
    if (executor_ || !checkpoint_ || last_used_ > before) return false;
    gone = std::exchange(checkpoint_, std::nullopt);
  }
  drop_host_copy();
  return true;
}

std::optional<std::chrono::milliseconds> ResidentModel::idle_limit() const {
  if (pin_) return std::nullopt;
  if (idle_) return idle_;
  const RuntimeOptions& all = runtime_.options();
  const auto own = all.model_idle_of.find(path_.name);
  return own != all.model_idle_of.end() ? own->second : all.model_idle;
}

std::optional<SteadyTime> ResidentModel::next_step() const {
  std::scoped_lock lock(mutex_);
  if (in_use_ > 0 || (!executor_ && !checkpoint_)) return std::nullopt;
  const auto limit = executor_ ? idle_limit() : runtime_.options().warm_idle;
  return limit ? std::optional(last_used_ + *limit) : std::nullopt;
}

bool ResidentModel::step(SteadyTime now) {
  const auto due = next_step();
  if (!due || *due > now) return false;
  if (!hot_or_loading()) return forget_if_idle(now) && false;
  const bool unloaded = unload_if_idle(now);
  if (const auto next = next_step(); next && *next <= now) forget_if_idle(now);
  return unloaded;
}

bool ResidentModel::hot_or_loading() const {
  std::scoped_lock lock(mutex_);
  return executor_ != nullptr;
}

std::optional<SteadyTime> ResidentModel::Weights::idle_since() const {
  std::scoped_lock lock(model_.mutex_);
  if (!model_.executor_ || model_.in_use_ > 0 || model_.pin_) return std::nullopt;
  return model_.last_used_;
}

bool ResidentModel::Weights::pinned() const {
  std::scoped_lock lock(model_.mutex_);
  return model_.pin_;
}

void ResidentModel::Weights::make_way(bool yes) {
  std::scoped_lock lock(model_.mutex_);
  model_.making_way_ = yes && model_.executor_ && !model_.pin_;
  model_.changed_.notify_all();
}

// A moment older than the weights that it backs: it goes before them.
std::optional<SteadyTime> ResidentModel::HostCopy::idle_since() const {
  std::scoped_lock lock(model_.mutex_);
  if (!model_.host_copy_) return std::nullopt;
  return model_.last_used_ - SteadyTime::duration(1);
}

bool ResidentModel::hot() const {
  std::scoped_lock lock(mutex_);
  return executor_ && executor_->loaded();
}

Json ResidentModel::status() const {
  std::scoped_lock lock(mutex_);
  const bool loaded = executor_ && executor_->loaded();
  const bool loading = executor_ && executor_->loading();
  const ExecutorStats stats = executor_ ? executor_->stats() : ExecutorStats{};
  const GenerationStats texts = executor_ ? executor_->generations().stats() : GenerationStats{};
  return {{"name", path_.name},
          {"folder", path_.folder.string()},
          {"device", options_.device.empty() ? runtime_.options().device : options_.device},
          {"dtype", dtype()},
          {"state", loaded        ? "hot"
                    : loading     ? "loading"
                    : checkpoint_ ? "warm"
                                  : "cold"},
          {"bytes", loaded ? nbytes_ : 0},
          {"cache_bytes", loaded ? cache_bytes_ : 0},
          {"adapter_bytes", loaded ? adapter_bytes_ : 0},
          {"host_bytes", host_copy_ ? host_copy_->nbytes() : 0},
          {"pinned", pin_},
          {"loads", loads_},
          {"wakes", wakes_},
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
