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
//   cancel_grace = 5
//   workspace = "work"
//   python = "3.11"
//   python_packages = ["torch", "transformers"]
//   secrets = ["HF_TOKEN"]
//   env = { TOKENIZERS_PARALLELISM = "false" }
//
//   [[model]]
//   name = "google/gemma-2-9b"
//   path = "models/gemma"             # where it lies; without it, it is looked up by name
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

namespace gpumcp::sandbox {

struct SandboxFile {
  struct Interface {
    std::string name, file;  // file: absolute, or a built-in interface's name
  };
  std::optional<std::string> name, provider, gpu, device, idle, workspace, python;
  std::optional<int> gpu_count, threads;
  std::optional<double> cancel_grace_s;
  std::vector<std::string> python_packages, secrets;
  std::map<std::string, std::string> env;
  std::vector<std::string> models;  // NAME or NAME=FOLDER
  std::vector<Interface> interfaces;

  // Error invalid_params: "gpumcp.toml:12: …".
  static mcp::Result<SandboxFile> read(const std::filesystem::path& path);
};

}  // namespace gpumcp::sandbox
