// The options that say which interfaces run and how: shared by serve, call and tools. Values of one
// command.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "sandbox/front_server.h"
#include "sandbox/manifest.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::cli {

struct SandboxOptions {
  std::string config_file;
  std::string sandbox_name;             // one that a program started: says all the rest
  std::vector<std::string> interfaces;  // none: the config file's, else embeddings
  std::vector<std::string> models;      // NAME or NAME=FOLDER
  std::string device = "auto", idle = "60", provider = "local", workspace, name = "gpumcp";
  std::vector<std::string> python_packages, system_packages, env, secrets;
  std::string python, gpu;
  int gpu_count = 1;
  std::vector<std::string> model_idle, pin;
  std::string warm_idle, device_memory, host_memory;
  std::string call_timeout = "never", load_timeout = "1800", start_timeout;
  std::vector<std::string> dtypes, adapters, bases;  // NAME=VALUE
  std::vector<std::string> hidden;                   // names
  std::string isolate;
  bool network = false;
  std::vector<std::string> read, write;
  double cancel_grace_s = 5;
  int threads = 0;
  // Tools of the worker that only this program calls (interfaces/shell); served beside the others.
  std::vector<std::string> shell_tools;

  // `name`: where --name goes, if that is another thing's than the server's.
  void declare(CLI::App& app, bool positional_interfaces = true,
               std::string* name_option = nullptr);
  void declare_worker(CLI::App& app);  // --device, --idle and the like: the part of a worker
  // The same as words for gpumcp serve, with files by their full paths.
  std::vector<std::string> words() const;
  // These with what gpumcp.toml says where the command line says nothing. Then `interfaces` are all
  // of the sandbox's, and `shown` the names of those that were asked for. Throws as the next ones.
  SandboxOptions resolved() const;
  SandboxOptions of_started() const;  // resolved(), where sandbox_name says it
  // All throw std::invalid_argument with what to do about it. For options that are resolved.
  std::vector<sandbox::Manifest> manifests() const;
  sandbox::SandboxConfig config(const std::vector<sandbox::Manifest>& manifests) const;
  std::filesystem::path workspace_folder() const;
  // Of these, the ones to show to agents.
  std::vector<sandbox::Manifest> shown_of(std::vector<sandbox::Manifest> manifests) const;

  std::vector<std::string> shown;                 // names; none: all
  std::optional<sandbox::SandboxConfig> started;  // of sandbox_name
  std::map<std::string, std::string> names;       // of interfaces, by their words
  std::vector<sandbox::ModelConfig> file_models;  // of gpumcp.toml
  const CLI::App* app = nullptr;                  // that these were declared on

 private:
  void read_models(sandbox::SandboxConfig& config) const;
  void read_limits(sandbox::SandboxConfig& config) const;
};

// What a server of these interfaces is made of.
sandbox::FrontServerOptions front_server_options(const SandboxOptions& options);
// The same, of one that notices when the interfaces' files, gpumcp.toml or the sandbox change.
sandbox::FrontServerOptions changing_server_options(const SandboxOptions& options);

}  // namespace gpumcp::cli
