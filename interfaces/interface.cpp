#include "interfaces/interface.h"

#include <c10/core/InferenceMode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <set>

#include "gpu_runtime/artifact_view.h"
#include "gpu_runtime/call_scope.h"
#include "gpu_runtime/device.h"
#include "gpu_runtime/error.h"
#include "gpu_runtime/runtime.h"
#include "interfaces/shared_artifacts.h"
#include "interfaces/shell/shell_tools.h"

namespace gpumcp {
namespace {

using gpu_runtime::Runtime;

constexpr const char* kUsage = "gpumcp/usage";

// What is said of single models (model_options): their types, and LoRA adapters; and the models
// whose folder is nothing but an adapter.
void find_model_options(const Json& options, gpu_runtime::RuntimeOptions& out) {
  if (const auto all = options.find("model_options"); all != options.end() && all->is_object()) {
    for (const auto& [name, more] : all->items()) {
      const std::string folder = more.is_object() ? more.value("adapter", "") : "";
      const std::string dtype = more.is_object() ? more.value("dtype", "") : "";
      if (!dtype.empty()) out.dtype_of[name] = dtype;
      if (!folder.empty()) out.adapters[name] = {folder, more.value("base", "")};
    }
  }
  for (const auto& [name, folder] : out.model_overrides) {
    std::error_code ignored;
    if (std::filesystem::exists(folder / "adapter_config.json", ignored) &&
        !std::filesystem::exists(folder / "config.json", ignored))
      out.adapters.try_emplace(name, gpu_runtime::AdapterSource{folder});
  }
  for (const auto& [name, source] : out.adapters) out.model_overrides.erase(name);
}

// The settings that a worker gives its plugins (mcp/plugin.h), as the Runtime takes them.
gpu_runtime::RuntimeOptions runtime_options(const Json& options) {
  gpu_runtime::RuntimeOptions out;
  auto find = [&](const char* key) -> const Json* {
    const auto it = options.find(key);
    return it == options.end() || it->is_null() ? nullptr : &*it;
  };
  if (const Json* device = find("device"); device && device->is_string())
    out.device = device->get<std::string>();
  if (const Json* models = find("models"); models && models->is_object()) {
    for (const auto& [name, folder] : models->items()) {
      if (folder.is_string() && !folder.get_ref<const std::string&>().empty())
        out.model_overrides[name] = folder.get<std::string>();
    }
  }
  find_model_options(options, out);
  if (const Json* name = find("default_model"); name && name->is_string())
    out.default_model = name->get<std::string>();
  if (const Json* threads = find("threads"); threads && threads->is_number_integer())
    out.num_threads = threads->get<int>();
  if (const Json* idle = find("model_idle_s")) {
    if (idle->is_number())
      out.model_idle = std::chrono::milliseconds(
          static_cast<int64_t>(std::max(0.0, idle->get<double>()) * 1000));
    else if (*idle == "never")
      out.model_idle = std::nullopt;
  }
  const auto milliseconds = [](const Json& seconds) {
    return std::chrono::milliseconds(
        static_cast<int64_t>(std::max(0.0, seconds.get<double>()) * 1000));
  };
  if (const Json* warm = find("warm_idle_s")) {
    if (warm->is_number())
      out.warm_idle = milliseconds(*warm);
    else if (*warm == "never")
      out.warm_idle = std::nullopt;
  }
  if (const Json* each = find("model_idle_of"); each && each->is_object()) {
    for (const auto& [name, idle] : each->items())
      out.model_idle_of[name] = idle.is_number() ? std::optional(milliseconds(idle)) : std::nullopt;
  }
  if (const Json* pinned = find("pin"); pinned && pinned->is_array()) {
    for (const Json& name : *pinned) {
      if (name.is_string()) out.pinned_models.insert(name.get<std::string>());
    }
  }
  if (const Json* bytes = find("device_memory"); bytes && bytes->is_number_unsigned())
    out.device_memory = bytes->get<std::uint64_t>();
  if (const Json* bytes = find("host_memory"); bytes && bytes->is_number_unsigned())
    out.host_memory = bytes->get<std::uint64_t>();
  out.artifacts = artifact_options(options);
  return out;
}

// What all interfaces share. The Runtime is configured once a process; the rest is registered once
// a registry, which in a worker is the same. This function's statics are the process' own, since it
// lies in a shared library.
// True the first time for this registry.
bool share_runtime(mcp::PluginHost& host) {
  static std::mutex mutex;
  static std::set<const mcp::Registry*> seen;
  std::scoped_lock lock(mutex);
  const bool first = seen.empty();
  if (seen.contains(&host.registry())) return false;
  Runtime& runtime = Runtime::current();
  gpu_runtime::RuntimeOptions options = runtime_options(host.options());
  auto store = share_artifacts(host, [&] {
    return first ? std::make_shared<gpu_runtime::ArtifactStore>(options.artifacts)
                 : runtime.artifact_store();
  });
  if (first) {
    options.artifact_store = std::move(store);
    options.held = share_held_time(host);
    runtime.configure(std::move(options));
  }
  // Compiled modules take their temporary folders with them.
  host.on_shutdown([] { Runtime::current().unload_all(); });
  host.on_status([] { return Json(Runtime::current().status()); });
  seen.insert(&host.registry());
  return true;
}

// The earlier of what the function allows and what the caller asks for.
std::optional<gpu_runtime::SteadyTime> deadline_of(const mcp::CallInfo& call,
                                                   const CallPolicy& policy) {
  auto limit = policy.deadline;
  const auto it = call._meta.find("gpumcp/deadline_ms");
  if (it != call._meta.end() && it->is_number()) {
    const std::chrono::milliseconds wish(
        static_cast<int64_t>(std::clamp(it->get<double>(), 0.0, 1e9)));
    limit = limit ? std::min(*limit, wish) : wish;
  }
  if (!limit) return std::nullopt;
  return std::chrono::steady_clock::now() + *limit;
}

// Writes the call's usage when the handler is left, by a throw too.
struct UsageNote {
  const gpu_runtime::CallScope& scope;
  Context& context;
  ~UsageNote() { context.set_meta(kUsage, scope.usage().to_json()); }
};

}  // namespace

Interface::Interface(mcp::PluginHost& host) : PlainInterface(host) {
  if (!share_runtime(host)) return;
  interfaces::expose_shell_embed(*this);
  interfaces::expose_shell_tokenize(*this);
}

mcp::ToolHandler Interface::metered(mcp::ToolHandler handler, const CallPolicy& policy) {
  return [handler = std::move(handler), policy, &host = host()](const Json& arguments,
                                                                Context& context) {
    gpu_runtime::CallScope scope({.stop = context.stop_token(),
                                  .deadline = deadline_of(context.call(), policy),
                                  .caller = caller_of(context.call()),
                                  .priority = policy.priority});
    const UsageNote note{scope, context};
    const c10::InferenceMode inference;  // thread-local, so set where the author's tensor code runs
    try {
      return handler(arguments, context);
    } catch (const gpu_runtime::Error& e) {
      if (e.code() == gpu_runtime::ErrorCode::device_lost) host.leave("its device is lost");
      throw ToolError(e.what());  // written for the agent already
    } catch (const c10::Error& e) {
      if (gpu_runtime::is_device_lost(e)) host.leave("its device is lost");
      throw std::runtime_error(e.what_without_backtrace());
    }
  };
}

std::string Interface::default_model(std::string name,
                                     const std::function<bool(const ModelPath&)>& fits) const {
  const std::string first = option("default_model");
  if (first.empty()) return name;
  std::vector<std::string> candidates{first};
  if (const auto models = options().find("models"); models != options().end()) {
    for (const auto& [key, folder] : models->items()) {
      if (key != first) candidates.push_back(key);
    }
  }
  for (const std::string& candidate : candidates) {
    try {
      const ModelPath path = get_model_path(candidate);
      if (!path.found() || fits(path)) return candidate;
    } catch (const gpu_runtime::Error&) {
      return candidate;  // broken: the call that loads it says how
    }
  }
  // Alone it was meant, so that its error is the answer.
  const auto interfaces = options().find("interfaces");
  const bool alone = interfaces == options().end() || *interfaces == 1;
  return alone ? first : name;
}

ModelPath Interface::get_model_path(const std::string& name) const {
  return Runtime::current().find_model(name);
}

gpu_runtime::ArtifactStore& Interface::artifacts() const { return Runtime::current().artifacts(); }

namespace detail {
void load_interface(mcp::PluginHost& host, void (*body)(Interface&)) {
  Interface interface(host);
  body(interface);
}
}  // namespace detail

}  // namespace gpumcp
