#include "sandbox/sandbox_config.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <stdexcept>

#include "sandbox/files.h"
#include "sandbox/system_packages.h"

namespace gpumcp::sandbox {
namespace {

using mcp::Json;

// Seconds or "never", as everything that reads a worker's settings has it.
Json time_json(double seconds) { return std::isfinite(seconds) ? Json(seconds) : Json("never"); }

double time_of(const Json& json, const char* key, double standard) {
  const auto it = json.find(key);
  if (it == json.end()) return standard;
  return *it == "never" ? kNever : it->get<double>();
}

std::optional<double> find_time(const Json& json, const char* key) {
  return json.contains(key) ? std::optional(time_of(json, key, 0)) : std::nullopt;
}

Json paths_json(const std::vector<std::filesystem::path>& paths) {
  Json out = Json::array();
  for (auto& path : paths) out.push_back(path.string());
  return out;
}

std::vector<std::filesystem::path> paths_of(const Json& json) {
  std::vector<std::filesystem::path> out;
  for (auto& path : json) out.emplace_back(path.get<std::string>());
  return out;
}

Json model_json(const ModelConfig& model) {
  Json out = {{"name", model.name}};
  if (!model.path.empty()) out["path"] = model.path.string();
  if (!model.dtype.empty()) out["dtype"] = model.dtype;
  if (model.hidden) out["hidden"] = true;
  if (!model.adapter.empty()) out["adapter"] = model.adapter.string();
  if (!model.base.empty()) out["base"] = model.base;
  return out;
}

ModelConfig model_of(const Json& json) {
  return {.name = json.at("name").get<std::string>(),
          .path = json.value("path", ""),
          .dtype = json.value("dtype", ""),
          .hidden = json.value("hidden", false),
          .adapter = json.value("adapter", ""),
          .base = json.value("base", "")};
}

}  // namespace

uint64_t hash_bytes(std::string_view bytes, uint64_t seed) {
  for (const unsigned char c : bytes) seed = (seed ^ c) * 1099511628211ull;
  return seed;
}

std::optional<double> parse_seconds(const std::string& text) {
  if (text == "never") return kNever;
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (text.empty() || *end || !(seconds >= 0 && seconds <= 1e9)) return std::nullopt;
  return seconds;
}

std::optional<uint64_t> parse_size(const std::string& text) {
  char* end = nullptr;
  const double number = std::strtod(text.c_str(), &end);
  double factor = 1;
  if (end != text.c_str() && *end) {
    const size_t unit = std::string_view("kMGT").find(*end == 'K' ? 'k' : *end);
    factor = unit == std::string_view::npos ? 0 : std::pow(1000.0, static_cast<double>(unit + 1));
    ++end;
    if (*end == 'B') ++end;
  }
  if (end == text.c_str() || *end || !(number * factor >= 1 && number * factor < 1e18))
    return std::nullopt;
  return static_cast<uint64_t>(number * factor);
}

std::string adapter_problem(const ModelConfig& model) {
  namespace fs = std::filesystem;
  std::error_code error;
  const std::string what = fmt::format("model {}: adapter {}", model.name, model.adapter.string());
  for (const char* file : {"adapter_config.json", "adapter_model.safetensors"}) {
    if (!fs::is_regular_file(model.adapter / file, error))
      return fmt::format("{}: there is no {} in it, as every LoRA adapter of PEFT has", what, file);
  }
  const auto config = mcp::parse_json(read_file(model.adapter / "adapter_config.json"));
  if (!config || !config->is_object())
    return fmt::format("{}: its adapter_config.json is no JSON object", what);
  if (const Json type = config->value("peft_type", Json()); type != "LORA")
    return fmt::format("{}: it is of the kind {}, and only LORA is known", what,
                       mcp::to_text(type));
  const Json base = config->value("base_model_name_or_path", Json());
  if (model.base.empty() && !(base.is_string() && !base.get_ref<const std::string&>().empty()))
    return fmt::format("{}: neither `base` nor its adapter_config.json names the base model", what);
  return {};
}

std::string SandboxConfig::problem() const {
  const auto is_number = [](std::string_view text) {
    return !text.empty() && text.size() <= 4 && text.find_first_not_of("0123456789") == text.npos;
  };
  if (device != "auto" && device != "cpu" && device != "cuda" &&
      !(device.starts_with("cuda:") && is_number(std::string_view(device).substr(5))))
    return fmt::format("device {}: expected auto, cpu, cuda or cuda:N", device);
  if (gpu_count < 0 || threads < 0)
    return fmt::format("gpu_count {} and threads {}: expected 0 or more", gpu_count, threads);
  // It goes into commands of providers, and where a template says so before a shell.
  if (gpu.starts_with('-') || gpu.size() > 100 ||
      gpu.find_first_not_of(
          "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:/+-") != gpu.npos)
    return fmt::format(
        "gpu \"{}\": expected a kind of GPU, as a100, of letters, digits and . _ : / + -", gpu);
  for (const std::string& name : system_packages) {
    if (std::string problem = system_package_problem(name); !problem.empty()) return problem;
  }
  for (const double seconds : {call_timeout_s, load_timeout_s, start_timeout_s.value_or(1)}) {
    if (!(seconds > 0))
      return fmt::format("a timeout of {} s: expected more than 0, or never", seconds);
  }
  if (!isolate.empty() && isolate != "auto" && isolate != "bubblewrap" && isolate != "landlock")
    return fmt::format("isolate \"{}\": expected auto, bubblewrap or landlock", isolate);
  // Said without isolation they would promise what nobody keeps.
  if (isolate.empty() && (network || !read.empty() || !write.empty()))
    return "network, read and write say what isolated interfaces may reach: add isolate";
  for (size_t i = 0; i < models.size(); ++i) {
    const ModelConfig& model = models[i];
    if (model.name.empty() || model.name.find('=') != model.name.npos)
      return fmt::format("model \"{}\": a name is needed, without =", model.name);
    for (size_t j = 0; j < i; ++j) {
      if (models[j].name == model.name)
        return fmt::format("model {}: it is listed twice", model.name);
    }
    if (!model.dtype.empty() && model.dtype != "float32" && model.dtype != "float16" &&
        model.dtype != "bfloat16")
      return fmt::format("model {}: dtype {}: expected float32, float16 or bfloat16", model.name,
                         model.dtype);
    if (!model.base.empty() && model.adapter.empty())
      return fmt::format("model {}: base {} goes with an adapter, and there is none", model.name,
                         model.base);
    // Folders are those of another machine there. Whether models are where they should be is told
    // by whoever loads them: tools can be listed without.
    if (provider != "local" || model.adapter.empty()) continue;
    if (std::string wrong = adapter_problem(model); !wrong.empty()) return wrong;
  }
  return {};
}

Json SandboxConfig::to_json() const {
  Json json = {{"device", device}, {"threads", threads}, {"cancel_grace_s", cancel_grace_s}};
  json["interfaces"] = paths_json(interfaces);
  if (!interface_names.empty()) json["interface_names"] = interface_names;
  json["models"] = Json::array();
  for (auto& model : models) json["models"].push_back(model_json(model));
  if (provider != "local") {
    json["provider"] = provider;
    json["gpu"] = gpu;
    json["gpu_count"] = gpu_count;
  }
  if (!dependencies.empty()) json["dependencies"] = paths_json(dependencies);
  if (!python_packages.empty()) json["python_packages"] = python_packages;
  if (!python_version.empty()) json["python_version"] = python_version;
  if (!env.empty()) json["env"] = env;
  if (!secrets.empty()) json["secrets"] = secrets;
  if (std::isfinite(call_timeout_s)) json["call_timeout_s"] = call_timeout_s;
  json["load_timeout_s"] = time_json(load_timeout_s);
  if (start_timeout_s) json["start_timeout_s"] = time_json(*start_timeout_s);
  if (device_memory) json["device_memory"] = device_memory;
  if (host_memory) json["host_memory"] = host_memory;
  if (model_idle_s) json["model_idle_s"] = time_json(*model_idle_s);
  if (warm_idle_s) json["warm_idle_s"] = time_json(*warm_idle_s);
  for (auto& [name, seconds] : model_idle_of) json["model_idle_of"][name] = time_json(seconds);
  if (!pin.empty()) json["pin"] = pin;
  if (!system_packages.empty()) json["system_packages"] = system_packages;
  if (!isolate.empty()) {
    json["isolate"] = isolate;
    json["network"] = network;
    json["read"] = paths_json(read);
    json["write"] = paths_json(write);
  }
  json["idle_s"] = idle_s ? Json(*idle_s) : Json(nullptr);
  return json;
}

SandboxConfig SandboxConfig::from_json(const Json& json) try {
  SandboxConfig config;
  config.interfaces = paths_of(json.at("interfaces"));
  config.interface_names = json.value("interface_names", std::vector<std::string>{});
  for (auto& model : json.at("models")) config.models.push_back(model_of(model));
  config.dependencies = paths_of(json.value("dependencies", Json::array()));
  config.python_packages = json.value("python_packages", std::vector<std::string>{});
  config.system_packages = json.value("system_packages", std::vector<std::string>{});
  config.python_version = json.value("python_version", "");
  config.env = json.value("env", std::map<std::string, std::string>{});
  config.secrets = json.value("secrets", std::vector<std::string>{});
  config.fixed_key = json.value("key", "");
  config.provider = json.value("provider", "local");
  config.gpu = json.value("gpu", "");
  config.gpu_count = json.value("gpu_count", 1);
  config.device = json.value("device", "auto");
  config.threads = json.value("threads", 0);
  config.call_timeout_s = time_of(json, "call_timeout_s", kNever);
  config.load_timeout_s = time_of(json, "load_timeout_s", config.load_timeout_s);
  config.start_timeout_s = find_time(json, "start_timeout_s");
  config.cancel_grace_s = json.value("cancel_grace_s", 5.0);
  config.device_memory = json.value("device_memory", uint64_t{0});
  config.host_memory = json.value("host_memory", uint64_t{0});
  config.model_idle_s = find_time(json, "model_idle_s");
  config.warm_idle_s = find_time(json, "warm_idle_s");
  const Json idle_of = json.value("model_idle_of", Json::object());
  for (auto& [name, seconds] : idle_of.items())
    config.model_idle_of[name] = time_of(idle_of, name.c_str(), 0);
  config.pin = json.value("pin", std::vector<std::string>{});
  config.isolate = json.value("isolate", "");
  config.network = json.value("network", false);
  config.read = paths_of(json.value("read", Json::array()));
  config.write = paths_of(json.value("write", Json::array()));
  const Json& idle = json.at("idle_s");
  config.idle_s = idle.is_null() ? std::nullopt : std::optional(idle.get<double>());
  return config;
} catch (const Json::exception& e) {
  throw std::invalid_argument(fmt::format("the worker's configuration is broken: {}", e.what()));
}

std::string SandboxConfig::key() const {
  if (!fixed_key.empty()) return fixed_key;
  Json identity = to_json();
  // How long a worker stays, and its steps may take, is no part of what it is.
  for (const char* time :
       {"idle_s", "cancel_grace_s", "call_timeout_s", "load_timeout_s", "start_timeout_s"})
    identity.erase(time);
  std::string all = mcp::to_text(identity);
  for (auto* paths : {&interfaces, &dependencies}) {
    for (auto& path : *paths) {
      struct stat info{};
      if (stat(path.c_str(), &info) == 0)
        all += fmt::format("|{}:{}.{}", info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
    }
  }
  // A secret that changed makes another sandbox; the key gives nothing of it away.
  for (auto& name : secrets) {
    const char* value = std::getenv(name.c_str());
    all += fmt::format("|{}={}", name, value ? value : "");
  }
  for (const char* name : {"GPUMCP_MODELS", "GPUMCP_CACHE", "GPUMCP_THREADS", "HF_HOME", "HOME",
                           "CUDA_VISIBLE_DEVICES", "XDG_CACHE_HOME"}) {
    const char* value = std::getenv(name);
    all += fmt::format("|{}={}", name, value ? value : "");
  }
  return fmt::format("{:016x}", hash_bytes(all)).substr(0, 12);
}

}  // namespace gpumcp::sandbox
