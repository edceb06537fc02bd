// gpumcp.toml: a sandbox written down. Says what the command line says, and what is awkward there:
//
//   [sandbox]                         # every key is optional
//   name = "gpu"                      # the server's name towards hosts
//   provider = "slurm:--partition=a100"
//   gpu = "a100"
//   gpu_count = 1
//   device = "auto"
//   idle = 60                         # seconds, or "never"
//   threads = 4
//   call_timeout = 600                # seconds that a call may take; "never" by default
//   load_timeout = 1800               # … that an interface may take to load
//   start_timeout = "never"           # … that the worker may take to start, queues included
//   cancel_grace = 5
//   device_memory = "20G"             # what models' weights may take of each GPU,
//   host_memory = "64G"               # and of host memory
//   model_idle = 60                   # seconds until an unused model leaves the device,
//   warm_idle = 600                   # and until it leaves host memory
//   workspace = "work"
//   python = "3.11"
//   python_packages = ["torch", "transformers"]
//   system_packages = ["libsndfile1"] # of the machine where the worker runs
//   secrets = ["HF_TOKEN"]
//   isolate = true                    # interfaces reach only what they need and what these say;
//   network = false                   # true is "auto": "bubblewrap" or "landlock", whichever works
//   read = ["data"]
//   write = ["results"]
//   env = { TOKENIZERS_PARALLELISM = "false" }
//
//   [[model]]
//   name = "google/gemma-2-9b"
//   path = "models/gemma"             # where it lies; without it, it is looked up by name
//   dtype = "bfloat16"                # or float16, float32
//   hidden = true                     # agents learn nothing of which model it is
//   idle = "never"                    # instead of model_idle
//   pin = true                        # stays loaded once it is
//
//   [[model]]
//   name = "me/gemma-tuned"           # a LoRA adapter and the model that it is put on
//   adapter = "adapters/tuned"
//   base = "google/gemma-2-9b"        # by default what the adapter names
//
//   [[interface]]
//   file = "interface.py"             # or a built-in interface's name
//   name = "model_tools"              # what `gpumcp serve NAME` calls it; the file's name by
//   default
//
// Paths are relative to the file. Unknown keys are errors, with the line: a typing error must not
// silently be a default. A value; read by one thread.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "mcp/result.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

struct SandboxFile {
  struct Interface {
    std::string name, file;  // file: absolute, or a built-in interface's name
  };
  std::optional<std::string> name, provider, gpu, device, idle, workspace, python;
  std::optional<int> gpu_count, threads;
  std::optional<double> cancel_grace_s;
  // As the command line has them.
  std::optional<std::string> isolate;  // as SandboxConfig has it
  bool network = false;
  std::vector<std::string> read_folders, write_folders;
  std::optional<std::string> call_timeout, load_timeout, start_timeout, warm_idle, device_memory,
      host_memory;
  std::vector<std::string> model_idle, pin;  // S or NAME=S; NAME
  std::vector<std::string> python_packages, system_packages, secrets;
  std::map<std::string, std::string> env;
  std::vector<ModelConfig> models;
  std::vector<Interface> interfaces;

  // Error invalid_params: "gpumcp.toml:12: …".
  static mcp::Result<SandboxFile> read(const std::filesystem::path& path);
};

}  // namespace gpumcp::sandbox
