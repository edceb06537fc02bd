#include "gpu_runtime/runtime.h"

#include "gpu_runtime/device.h"
#include "gpu_runtime/error.h"

namespace gpumcp::gpu_runtime {
namespace {

std::shared_ptr<ArtifactStore> store_of(const RuntimeOptions& options) {
  return options.artifact_store ? options.artifact_store
                                : std::make_shared<ArtifactStore>(options.artifacts);
}

std::unique_ptr<Residency> make_residency(const RuntimeOptions& options) {
  return std::make_unique<Residency>(
      [host = options.host_memory, device = options.device_memory](c10::Device place) {
        if (place.is_cpu()) return host.value_or(physical_memory() / 4 * 3);
        return device.value_or(free_device_memory(place) / 10 * 9);
      });
}

std::shared_ptr<HeldTime> held_time_of(const RuntimeOptions& options) {
  return options.held ? options.held : std::make_shared<HeldTime>(options.clock);
}

}  // namespace

Runtime& Runtime::current() {
  static Runtime runtime;
  return runtime;
}

Runtime::Runtime(RuntimeOptions options)
    : options_(std::move(options)),
      held_(held_time_of(options_)),
      residency_(make_residency(options_)),
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
  held_ = held_time_of(options_);
  residency_ = make_residency(options_);
  artifacts_ = std::move(artifacts);
}

std::shared_ptr<ResidentModel> Runtime::model(const ModelPath& path, const ModelOptions& options) {
  if (!options.device.empty()) check_device_spelling(options.device);
  Key key{path.found() ? path.folder.lexically_normal().string() : path.name, options.dtype,
          options.device, options.load_as};
  std::scoped_lock lock(mutex_);
  auto& model = models_[key];
  if (!model) {
    model = std::make_shared<ResidentModel>(*this, path, options);
  } else {
    model->also(options);
  }
  return model;
}

ModelPath Runtime::find_model(const std::string& name) const {
  const std::string& wanted = name.empty() ? options_.default_model : name;
  const auto adapter = options_.adapters.find(wanted);
  if (adapter == options_.adapters.end()) return ModelStore(options_.model_overrides).find(wanted);
  const std::string base = adapter->second.base.empty()
                               ? LoraAdapter::read_base(adapter->second.folder)
                               : adapter->second.base;
  if (base.empty() || options_.adapters.contains(base)) {
    throw Error(ErrorCode::invalid_argument,
                "adapter " + wanted + ": its base is " +
                    (base.empty() ? "named nowhere (adapter_config.json, base_model_name_or_path)"
                                  : base + ", which is an adapter itself"));
  }
  if (base.starts_with('/') || base.starts_with('.')) return ModelPath(base);
  return ModelStore(options_.model_overrides).find(base);
}

std::shared_ptr<const LoraAdapter> Runtime::adapter(const std::string& name) {
  const auto source = options_.adapters.find(name);
  if (source == options_.adapters.end()) {
    std::string known;
    for (const auto& [one, unused] : options_.adapters) known += (known.empty() ? "" : ", ") + one;
    throw Error(ErrorCode::not_found,
                "there is no adapter \"" + name.substr(0, 60) + "\" (there are: " +
                    (known.empty() ? "none; serve one by --model NAME=FOLDER" : known) + ")");
  }
  std::scoped_lock lock(mutex_);
  auto& known = adapters_[name];
  if (auto adapter = known.lock()) return adapter;
  auto adapter = LoraAdapter::open(source->second.folder, name);
  known = adapter;
  return adapter;
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
          {"memory", residency_->status()},
          {"process", {{"resident_bytes", resident_memory()}}},
          {"artifacts",
           {{"count", stats.count}, {"bytes", stats.nbytes}, {"max_bytes", stats.max_bytes}}}};
}

std::size_t Runtime::sweep() {
  std::size_t count = 0;
  for (const auto& model : models()) count += model->step(now()) ? 1 : 0;
  return count;
}

std::size_t Runtime::unload_all() {
  std::size_t count = 0;
  for (const auto& model : models()) {
    count += model->unload_if_idle(SteadyTime::max()) ? 1 : 0;
    model->forget_if_idle(SteadyTime::max());
  }
  return count;
}

// After each call, with the time of the model's next step: the reaper starts with the first, and is
// woken only when it would come too late.
void Runtime::model_used(std::optional<SteadyTime> due) {
  {
    std::scoped_lock lock(mutex_);
    in_use_ = true;
    if (!options_.reaper || !due) return;
    if (!reaper_.joinable()) {
      reaper_ = std::jthread([this](std::stop_token stop) { reaper_loop(stop); });
      return;
    }
    if (*due >= wake_at_) return;
    wake_at_ = *due;
  }
  used_.notify_one();
}

void Runtime::reaper_loop(std::stop_token stop) {
  while (!stop.stop_requested()) {
    {
      std::scoped_lock lock(mutex_);
      wake_at_ = SteadyTime::max();
    }
    sweep();
    SteadyTime next = SteadyTime::max();
    for (const auto& model : models()) {
      if (const auto due = model->next_step()) next = std::min(next, *due);
    }
    std::unique_lock lock(mutex_);
    const SteadyTime planned = wake_at_ = std::min(wake_at_, next);
    auto sooner = [&] { return wake_at_ < planned; };
    if (planned == SteadyTime::max()) {
      used_.wait(lock, stop, sooner);
    } else {
      used_.wait_until(lock, stop, planned, sooner);
    }
  }
}

}  // namespace gpumcp::gpu_runtime
