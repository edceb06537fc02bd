#include "sandbox/sandbox_config.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cstdlib>
#include <stdexcept>

namespace gpumcp::sandbox {

uint64_t hash_bytes(std::string_view bytes, uint64_t seed) {
  for (const unsigned char c : bytes) seed = (seed ^ c) * 1099511628211ull;
  return seed;
}

mcp::Json SandboxConfig::to_json() const {
  mcp::Json json = {{"device", device}, {"threads", threads}, {"cancel_grace_s", cancel_grace_s}};
  mcp::Json paths = mcp::Json::array();
  for (auto& path : interfaces) paths.push_back(path.string());
  json["interfaces"] = std::move(paths);
  if (!interface_names.empty()) json["interface_names"] = interface_names;
  json["models"] = models;
  if (!runtime.empty()) json["runtime"] = runtime;
  json["default_model"] = default_model;
  if (provider != "local") {
    json["provider"] = provider;
    json["gpu"] = gpu;
    json["gpu_count"] = gpu_count;
  }
  if (!dependencies.empty()) {
    json["dependencies"] = mcp::Json::array();
    for (auto& path : dependencies) json["dependencies"].push_back(path.string());
  }
  if (!python.packages.empty()) json["python_packages"] = python.packages;
  if (!python.version.empty()) json["python_version"] = python.version;
  if (!python.env.empty()) json["env"] = python.env;
  if (!python.secrets.empty()) json["secrets"] = python.secrets;
  json["idle_s"] = idle_s ? mcp::Json(*idle_s) : mcp::Json(nullptr);
  return json;
}

SandboxConfig SandboxConfig::from_json(const mcp::Json& json) try {
  SandboxConfig config;
  for (auto& path : json.at("interfaces")) config.interfaces.emplace_back(path.get<std::string>());
  config.interface_names = json.value("interface_names", std::vector<std::string>{});
  config.models = json.at("models").get<std::map<std::string, std::string>>();
  config.default_model = json.value("default_model", "");
  for (auto& path : json.value("dependencies", mcp::Json::array()))
    config.dependencies.emplace_back(path.get<std::string>());
  config.python.packages = json.value("python_packages", std::vector<std::string>{});
  config.python.version = json.value("python_version", "");
  config.python.env = json.value("env", std::map<std::string, std::string>{});
  config.python.secrets = json.value("secrets", std::vector<std::string>{});
  config.fixed_key = json.value("key", "");
  config.provider = json.value("provider", "local");
  config.gpu = json.value("gpu", "");
  config.gpu_count = json.value("gpu_count", 1);
  config.device = json.value("device", "auto");
  config.runtime = json.value("runtime", mcp::Json::object());
  config.threads = json.value("threads", 0);
  config.cancel_grace_s = json.value("cancel_grace_s", 5.0);
  const mcp::Json& idle = json.at("idle_s");
  config.idle_s = idle.is_null() ? std::nullopt : std::optional(idle.get<double>());
  return config;
} catch (const mcp::Json::exception& e) {
  throw std::invalid_argument(fmt::format("the worker's configuration is broken: {}", e.what()));
}

std::string SandboxConfig::key() const {
  if (!fixed_key.empty()) return fixed_key;
  mcp::Json identity = to_json();
  identity.erase("idle_s");  // how long a worker stays is no part of what it is
  identity.erase("cancel_grace_s");
  std::string all = mcp::to_text(identity);
  for (auto* paths : {&interfaces, &dependencies}) {
    for (auto& path : *paths) {
      struct stat info{};
      if (stat(path.c_str(), &info) == 0)
        all += fmt::format("|{}:{}.{}", info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
    }
  }
  // A secret that changed makes another sandbox; the key gives nothing of it away.
  for (auto& name : python.secrets) {
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
