#include "gpu_runtime/runtime.h"

#include "gpu_runtime/device.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/loaded_model.h"

namespace gpumcp::gpu_runtime {
namespace {

std::shared_ptr<ArtifactStore> store_of(const RuntimeOptions& options) {
  return options.artifact_store ? options.artifact_store
                                : std::make_shared<ArtifactStore>(options.artifacts);
}

}  // namespace

std::unique_ptr<BatchModel> load_model(const std::filesystem::path& folder, c10::Device device,
                                       const std::string& dtype) {
  return std::make_unique<LoadedModel>(folder, device, dtype);
}

Runtime& Runtime::current() {
  static Runtime runtime;
  return runtime;
}

Runtime::Runtime(RuntimeOptions options)
    : options_(std::move(options)),
      held_(std::make_unique<HeldTime>(options_.clock)),
      artifacts_(store_of(options_)) {
  check_device_spelling(options_.device);
}

Runtime::~Runtime() {
  reaper_ = {};  // stops and joins
  unload_all();
}

void Runtime::configure(RuntimeOptions options) {
  check_device_spelling(options.device);
  auto artifacts = store_of(options);
  std::scoped_lock lock(mutex_);
  if (in_use_ || artifacts_->stats().put > 0) {
    throw Error(ErrorCode::invalid_argument,
                "the runtime is in use: configure it before the first call");
  }
  options_ = std::move(options);
  held_ = std::make_unique<HeldTime>(options_.clock);
  artifacts_ = std::move(artifacts);
}

std::shared_ptr<ResidentModel> Runtime::model(const ModelPath& path, const ModelOptions& options) {
  if (!options.device.empty()) check_device_spelling(options.device);
  Key key{path.found() ? path.folder.lexically_normal().string() : path.name, options.dtype,
          options.device};
  std::scoped_lock lock(mutex_);
  auto& model = models_[key];
  if (!model) model = std::make_shared<ResidentModel>(*this, path, options);
  return model;
}

ModelPath Runtime::find_model(const std::string& name) const {
  return ModelStore(options_.model_overrides).find(name.empty() ? options_.default_model : name);
}

double Runtime::held_s() const { return held_->seconds(); }

std::vector<std::shared_ptr<ResidentModel>> Runtime::models() {
  std::scoped_lock lock(mutex_);
  std::vector<std::shared_ptr<ResidentModel>> all;
  for (const auto& [key, model] : models_) all.push_back(model);
  return all;
}

Json Runtime::status() {
  Json list = Json::array();
  for (const auto& model : models()) list.push_back(model->status());
  const ArtifactStats stats = artifacts_->stats();
  return {{"device", options_.device},
          {"held_s", held_s()},
          {"models", std::move(list)},
          {"artifacts",
           {{"count", stats.count}, {"bytes", stats.nbytes}, {"max_bytes", stats.max_bytes}}}};
}

std::size_t Runtime::unload_idle_since(SteadyTime before) {
  std::size_t count = 0;
  for (const auto& model : models()) count += model->unload_if_idle(before) ? 1 : 0;
  return count;
}

std::size_t Runtime::sweep() {
  return options_.model_idle ? unload_idle_since(now() - *options_.model_idle) : 0;
}

std::size_t Runtime::unload_all() { return unload_idle_since(SteadyTime::max()); }

// After each call: the reaper starts with the first, and is woken only when it may have to act at
// once.
void Runtime::model_used() {
  {
    std::scoped_lock lock(mutex_);
    in_use_ = true;
    if (!options_.model_idle || !options_.reaper) return;
    ++uses_;
    if (!reaper_.joinable()) {
      reaper_ = std::jthread([this](std::stop_token stop) { reaper_loop(stop); });
      return;
    }
  }
  used_.notify_one();
}

void Runtime::reaper_loop(std::stop_token stop) {
  std::uint64_t seen = 0;
  while (!stop.stop_requested()) {
    {
      std::scoped_lock lock(mutex_);
      seen = uses_;
    }
    sweep();
    std::optional<SteadyTime> next;  // the first that may have to go
    for (const auto& model : models()) {
      if (auto since = model->idle_since()) {
        const SteadyTime due = *since + *options_.model_idle;
        next = next ? std::min(*next, due) : due;
      }
    }
    std::unique_lock lock(mutex_);
    auto changed = [&] { return uses_ != seen; };
    if (next) {
      // A later use only moves the time on, so it need not wake this thread.
      used_.wait_until(lock, stop, *next,
                       [&] { return changed() && options_.model_idle->count() == 0; });
    } else {
      used_.wait(lock, stop, changed);
    }
  }
}

}  // namespace gpumcp::gpu_runtime
