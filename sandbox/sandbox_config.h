// SandboxConfig: which interfaces run, with which models, on which device, and how long their
// worker stays. A value; gpumcp.toml (sandbox_file.h) and the command line say the same under the
// same names. Two configurations with the same key() share one worker; what only concerns a front
// (transport, workspace) is not part of it.
#pragma once

#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mcp/json.h"

namespace gpumcp::sandbox {

inline constexpr double kNever = std::numeric_limits<double>::infinity();  // for times below

struct ModelConfig {
  std::string name;                 // its Hugging Face id
  std::filesystem::path path = {};  // where it lies; empty: looked up by name
  std::string dtype = {};           // float32, float16, bfloat16; empty: as its files or code say
  bool hidden = false;              // agents learn nothing of which model it is
  // A LoRA adapter's folder: `name` is then the model `base` with it. Without a base, the one that
  // the adapter names itself.
  std::filesystem::path adapter = {};
  std::string base = {};
};

struct SandboxConfig {
  std::string gpu = {};                  // what a provider asks for, as "a100"; empty: any
  int gpu_count = 1;                     // 0: none
  std::vector<ModelConfig> models = {};  // the first is the default model of built-in interfaces
  // For Python interfaces: packages as for pip (a virtual environment of their own), the version
  // ("3.11") or an interpreter's path, variables, and the names of variables of the environment
  // that hold secrets. Values of secrets are not in here.
  std::vector<std::string> python_packages = {};
  std::vector<std::string> system_packages = {};  // of any interface (system_packages.h)
  std::string python_version = {};
  std::map<std::string, std::string> env = {};
  std::vector<std::string> secrets = {};
  std::string provider = "local";     // provider.h
  std::string device = "auto";        // auto | cpu | cuda | cuda:N
  int threads = 0;                    // CPU threads; 0: as many as cores
  std::optional<double> idle_s = 60;  // the worker leaves after this; nullopt: never

  // Times that a step may take; kNever: as long as it takes. A call's begins when the worker has
  // it, so that neither a cold start nor a job's queue counts. start_timeout_s: nullopt is two
  // minutes on this machine, and elsewhere as long as its queue takes.
  double call_timeout_s = kNever;
  double load_timeout_s = 1800;  // of an interface's own code, which may load models
  std::optional<double> start_timeout_s = {};
  double cancel_grace_s = 5;  // a call that ignores its cancellation so long ends the worker

  // What models may take and how long they stay; unset: gpu_runtime's own rules.
  uint64_t device_memory = 0, host_memory = 0;  // bytes of weights
  std::optional<double> model_idle_s = {}, warm_idle_s = {};
  std::map<std::string, double> model_idle_of = {};  // by model
  std::vector<std::string> pin = {};                 // stay loaded once they are

  // Interface code reaches only what it needs and what these say (isolation.h). isolate: empty for
  // not at all, auto, bubblewrap or landlock. Folders are read and written with all below them.
  std::string isolate = {};
  bool network = false;
  std::vector<std::filesystem::path> read = {}, write = {};

  std::vector<std::filesystem::path> interfaces = {};  // shared libraries or source files, absolute
  std::vector<std::string> interface_names = {};       // in their order; empty: their own
  std::vector<std::filesystem::path> dependencies = {};  // files that source files are read from

  // What no worker could be started with, by its name above; empty: nothing.
  std::string problem() const;

  // 12 hexadecimal digits: from everything above but the times of a worker, the libraries' sizes
  // and times, and the variables of the environment that models and devices depend on.
  std::string key() const;
  // What key() gives in a worker, its front's word; and of a ScopedSandbox.
  std::string fixed_key = {};

  // For the worker, and back. from_json throws std::invalid_argument.
  mcp::Json to_json() const;
  static SandboxConfig from_json(const mcp::Json& json);
};

// What is wrong with a model's adapter, which is in a folder of this machine; empty: nothing.
std::string adapter_problem(const ModelConfig& model);
// 60, 0.5, "never" (kNever); nullopt: neither seconds, 0 or more, nor never.
std::optional<double> parse_seconds(const std::string& text);
// 512M, 20G, 1.5T, 1000000: powers of ten, as disks and weights are sold. nullopt: no size.
std::optional<uint64_t> parse_size(const std::string& text);

// FNV-1a, 64 bits: names things, protects nothing.
uint64_t hash_bytes(std::string_view bytes, uint64_t seed = 14695981039346656037ull);

}  // namespace gpumcp::sandbox
