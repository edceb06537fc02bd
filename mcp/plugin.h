// How a shared library hands tools to the program that opens it: it exports one C function,
// gpumcp_plugin_v1, that returns a PluginEntry; the program checks `abi` and `build`, then calls
// load() once, before serving, on one thread. The library stays open for the life of the process.
// load() registers and returns: it must not load models, open devices or read more than it needs to
// name its tools, since manifests are made by it too.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "mcp/registry.h"

namespace gpumcp::mcp {

inline constexpr uint32_t kPluginAbi = 6;
inline constexpr const char* kPluginSymbol = "gpumcp_plugin_v1";

// What the program offers to a plugin. Valid for the life of the process.
class PluginHost {
 public:
  virtual ~PluginHost() = default;
  virtual Registry& registry() = 0;
  // Settings of the worker, an object; unknown keys are to be ignored, every key may be absent:
  //   device "auto|cpu|cuda|cuda:N" · models {NAME: FOLDER} (empty FOLDER: look it up) ·
  //   default_model NAME · interfaces N (that the worker serves) · threads N · model_idle_s S ·
  //   artifact_ttl_s S · artifact_dir PATH · workspace PATH · model_idle_of {NAME: S} ·
  //   warm_idle_s S · pin [NAME…] · device_memory BYTES · host_memory BYTES ·
  //   model_options {NAME: {dtype "float32|float16|bfloat16", hidden true (agents are told nothing
  //   of which model it is), adapter FOLDER (of a LoRA adapter; NAME is then `base` with it), base
  //   NAME (empty: as the adapter says)}} · load_timeout_s S; S is a number of seconds or "never"
  // For a host of interface files in another language (sandbox/host_library.h): source PATH ·
  //   manifest {…} · scripts PATH · environments PATH · python {packages, version, env, secrets} ·
  //   wrap [WORD…] (goes before the command that runs the file's code)
  virtual const Json& options() const = 0;
  // Asked by `status`; runs on any thread, must be quick and must not wake a device.
  virtual void on_status(std::function<Json()> status) = 0;
  // Asked when somebody wants to know that calls will find everything in place (the load tool of
  // sandbox/worker.h): runs the author's code that would else run at the first call. Reports
  // progress; throws ToolError with what is wrong. On a thread of the pool.
  virtual void on_load(std::function<void(Context&)>) {}
  // Runs once when the worker leaves, after the last call: spill what should outlive the process.
  virtual void on_shutdown(std::function<void()> shutdown) = 0;
  // This process can do its work no more, `why`: its device is lost, say. The worker tells its
  // fronts, which start another for what comes next, ends the calls that run and exits. On any
  // thread, any number of times; returns at once. Hosts that serve no calls leave it out.
  virtual void leave(const std::string& /*why*/) {}
  // A tool for the program's own commands (gpumcp embed): a worker's socket serves it, agents never
  // see it. Hosts without such commands leave it out.
  virtual void add_shell_tool(Tool, ToolHandler) {}
  // An object that all plugins of the process share, by its name: made by the first that asks. The
  // build string vouches for its type, as for everything that crosses this boundary.
  virtual std::shared_ptr<void> share(const std::string& name,
                                      const std::function<std::shared_ptr<void>()>& make) = 0;
};

struct PluginEntry {
  uint32_t abi;       // kPluginAbi
  const char* build;  // plugin_build() of the headers that it was compiled with
  const char* name;   // [a-z0-9_]+, also the server's name towards hosts
  void (*load)(PluginHost& host);
};

using PluginFunction = const PluginEntry* (*)();

// Changes whenever a plugin must be rebuilt: C++ types cross the boundary.
inline constexpr const char* plugin_build() {
#define GPUMCP_STRINGIFY_(x) #x
#define GPUMCP_STRINGIFY(x) GPUMCP_STRINGIFY_(x)
  return "gpumcp 0.1.0, json " GPUMCP_STRINGIFY(NLOHMANN_JSON_VERSION_MAJOR) "." GPUMCP_STRINGIFY(
      NLOHMANN_JSON_VERSION_MINOR) "." GPUMCP_STRINGIFY(NLOHMANN_JSON_VERSION_PATCH) ", " __VERSION__;
#undef GPUMCP_STRINGIFY
#undef GPUMCP_STRINGIFY_
}

}  // namespace gpumcp::mcp
