// SandboxConfig: which interfaces run, with which models, on which device, and how long their
// worker stays. A value. Two configurations with the same key() share one worker; what only
// concerns a front (transport, workspace) is not part of it.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mcp/json.h"

namespace gpumcp::sandbox {

// What Python interfaces run with. Values of secrets are not in here: only the names of variables
// of the environment that a front is started with.
struct PythonConfig {
  std::vector<std::string> packages = {};  // as for pip; make a virtual environment of their own
  std::string version = {};                // "3.11", or an interpreter's path; empty: python3
  std::map<std::string, std::string> env = {};
  std::vector<std::string> secrets = {};
};

struct SandboxConfig {
  std::vector<std::filesystem::path> interfaces;  // shared libraries or source files, absolute
  std::vector<std::string> interface_names = {};  // in their order; empty: their own
  std::vector<std::filesystem::path> dependencies = {};  // files that source files are read from
  std::map<std::string, std::string> models;             // NAME -> folder; "": looked up by name
  std::string default_model = {};     // the first --model; empty: the interface's own
  std::string provider = "local";     // provider.h
  std::string gpu = {};               // what a provider asks for, as "a100"; empty: any
  int gpu_count = 1;                  // 0: none
  std::string device = "auto";        // auto | cpu | cuda | cuda:N
  int threads = 0;                    // CPU threads; 0: as many as cores
  std::optional<double> idle_s = 60;  // the worker leaves after this; nullopt: never
  PythonConfig python = {};
  // What the worker's models may take and how long they stay: device_memory, host_memory (bytes),
  // model_idle_s, model_idle_of {NAME: S}, warm_idle_s, pin [NAME…], as mcp/plugin.h has them.
  mcp::Json runtime = mcp::Json::object();
  double cancel_grace_s = 5;  // a call that ignores its cancellation so long ends the worker

  // 12 hexadecimal digits: from everything above but the two times, the libraries' sizes and times,
  // and the variables of the environment that models and devices depend on.
  std::string key() const;
  std::string fixed_key = {};  // what key() gives in a worker: its front's word, made before
  // For the worker's command line, and back. from_json throws std::invalid_argument.
  mcp::Json to_json() const;
  static SandboxConfig from_json(const mcp::Json& json);
};

// FNV-1a, 64 bits: names things, protects nothing.
uint64_t hash_bytes(std::string_view bytes, uint64_t seed = 14695981039346656037ull);

}  // namespace gpumcp::sandbox
