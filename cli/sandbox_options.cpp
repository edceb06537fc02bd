#include "cli/sandbox_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include "sandbox/provider.h"
#include "sandbox/sandbox_file.h"
#include "sandbox/sandbox_record.h"
#include "sandbox/tool_names.h"

namespace gpumcp::cli {
namespace fs = std::filesystem;

namespace {
constexpr const char* kInstructions =
    "Functions of this server run on a GPU worker that starts with the first call and leaves when "
    "idle, so the first call may take some seconds.\n"
    "Large results are kept as artifacts, named by gpumcp://artifacts/… URIs:\n"
    "- pass a URI on to other tools; their numbers never need to travel;\n"
    "- ?slice=0:10 behind it names a part, as NumPy writes it (?slice=-1 the last row);\n"
    "- resources/read gives the .npy bytes; output \"file\" and save_tensor write files;\n"
    "- artifacts go by themselves an hour after they were last read; then run the call again;\n"
    "- handles of steer are your session's own, and change only calls that name them.";
}  // namespace

void SandboxOptions::declare(CLI::App& app, bool positional_interfaces, std::string* name_option) {
  this->app = &app;
  app.add_option("--config", config_file,
                 "a gpumcp.toml that says all this; options here go before it")
      ->type_name("FILE");
  app.add_option("--sandbox", sandbox_name,
                 "a sandbox that a program started, by its name: says all the rest");
  if (positional_interfaces)
    app.add_option("INTERFACE", interfaces,
                   "built-in interfaces by name, .so files or Python files; none: embeddings");
  app.add_option("--model", models,
                 "NAME or NAME=FOLDER: where a model lies; the first is the default model")
      ->type_name("NAME[=FOLDER]");
  declare_worker(app);
  app.add_option("--workspace", workspace, "folder for results that are written as files");
  if (name_option)
    app.add_option("--name", *name_option, "its name; by default the interface's");
  else
    app.add_option("--name", name, "the server's name towards hosts")->capture_default_str();
}

void SandboxOptions::declare_worker(CLI::App& app) {
  app.add_option("--device", device, "auto, cpu, cuda or cuda:N")->capture_default_str();
  app.add_option("--idle", idle,
                 "seconds after the last call until the worker leaves, 0 or more, or never")
      ->capture_default_str();
  app.add_option("--provider", provider,
                 "where the worker runs: local, ssh:HOST, slurm[:SRUN OPTIONS] or "
                 "command:TEMPLATE (with {worker}, {gpu}, {gpu_count}, {key})")
      ->capture_default_str();
  app.add_option("--gpu", gpu, "the kind of GPU that a provider asks for, as a100");
  app.add_option("--gpu-count", gpu_count, "how many; 0: none")->capture_default_str();
  app.add_option("--threads", threads, "CPU threads of the worker; 0: as many as cores")
      ->capture_default_str();
  app.add_option(
         "--model-idle", model_idle,
         "S, or NAME=S for one model: seconds after its last call until its weights leave the "
         "device, or never (60)")
      ->type_name("[NAME=]S");
  app.add_option("--warm-idle", warm_idle,
                 "seconds that an unloaded model stays ready to wake, or never (600)")
      ->type_name("S");
  app.add_option("--pin", pin, "a model that stays loaded once it is");
  app.add_option("--device-memory", device_memory,
                 "what weights may take of each GPU, as in 20G; else nine tenths of what is free")
      ->type_name("SIZE");
  app.add_option("--host-memory", host_memory,
                 "what weights may take of host memory; else three quarters of it")
      ->type_name("SIZE");
  app.add_option("--dtype", dtypes, "float32, float16 or bfloat16 for a model")
      ->type_name("NAME=DTYPE");
  app.add_option("--hidden", hidden, "a model whose identity agents are not told")
      ->type_name("NAME");
  app.add_option("--adapter", adapters,
                 "a model that is another one with the LoRA adapter of this folder")
      ->type_name("NAME=FOLDER");
  app.add_option("--base", bases, "the model that an --adapter is for; else the one it names")
      ->type_name("NAME=MODEL");
  app.add_option("--call-timeout", call_timeout, "seconds that a call may take, or never")
      ->type_name("S")
      ->capture_default_str();
  app.add_option("--load-timeout", load_timeout,
                 "seconds that an interface's own code may take to load, or never")
      ->type_name("S")
      ->capture_default_str();
  app.add_option("--start-timeout", start_timeout,
                 "seconds that the worker may take to start, queues included, or never; else 120 "
                 "here, and as long as it takes elsewhere")
      ->type_name("S");
  app.add_option("--cancel-grace", cancel_grace_s,
                 "seconds that a cancelled call may go on before its worker is replaced")
      ->capture_default_str();
  app.add_flag("--isolate{auto}", isolate,
               "interfaces reach only what they need and what --network, --read and --write say; "
               "=bubblewrap or =landlock demands one of the two");
  app.add_flag("--network", network, "isolated interfaces may use the network");
  app.add_option("--read", read, "a folder that isolated interfaces may read; repeatable")
      ->type_name("DIR");
  app.add_option("--write", write, "a folder that isolated interfaces may write; repeatable")
      ->type_name("DIR");
  app.add_option("--python", python, "Python interfaces: the version (3.11) or interpreter to use")
      ->type_name("VERSION|PATH");
  app.add_option("--python-package", python_packages,
                 "Python interfaces: a package that they need, as for pip; repeatable");
  app.add_option("--system-package", system_packages,
                 "a package of the system that interfaces need where the worker runs: installed if "
                 "that is root, else told; repeatable");
  app.add_option("--env", env, "a variable for Python interfaces; repeatable")
      ->type_name("NAME=VALUE");
  app.add_option("--secret", secrets,
                 "a variable of this environment that is kept out of logs and results; repeatable")
      ->type_name("NAME");
}

SandboxOptions SandboxOptions::of_started() const {
  CLI::App worker_options;
  SandboxOptions().declare_worker(worker_options);
  std::vector<std::string> said = {"--config", "--model"};
  for (const CLI::Option* option : worker_options.get_options()) said.push_back(option->get_name());
  for (const std::string& name : said) {
    const CLI::Option* option = app ? app->get_option_no_throw(name) : nullptr;
    if (option && option->count() > 0 && name != "--help")
      throw std::invalid_argument(
          fmt::format("--sandbox {} says what it runs with: leave out {}", sandbox_name, name));
  }
  auto record = sandbox::load_record(sandbox_name);
  if (!record) throw std::invalid_argument(record.error().message);
  if (record->config.interfaces.empty())
    throw std::invalid_argument(fmt::format("the sandbox {} serves nothing yet", sandbox_name));
  SandboxOptions out = *this;
  out.shown = interfaces;
  out.started = std::move(record->config);
  const auto all = out.manifests();
  for (const std::string& name : out.shown) {
    std::string known;
    bool found = false;
    for (auto& one : all) {
      found = found || one.name == name;
      known += (known.empty() ? "" : ", ") + one.name;
    }
    if (!found)
      throw std::invalid_argument(fmt::format("the sandbox {} has no interface {}; it serves {}",
                                              sandbox_name, name, known));
  }
  return out;
}

SandboxOptions SandboxOptions::resolved() const {
  SandboxOptions out = *this;
  if (!sandbox_name.empty()) return of_started();
  if (config_file.empty()) return out;
  auto read = sandbox::SandboxFile::read(fs::absolute(config_file).lexically_normal());
  if (!read) throw std::invalid_argument(read.error().message);
  const sandbox::SandboxFile& file = *read;
  auto given = [&](const char* option) {
    const CLI::Option* found = app ? app->get_option_no_throw(option) : nullptr;
    return found && found->count() > 0;
  };
  auto take = [&](const char* option, auto& mine, const auto& theirs) {
    if (theirs && !given(option)) mine = *theirs;
  };
  take("--name", out.name, file.name);
  take("--provider", out.provider, file.provider);
  take("--gpu", out.gpu, file.gpu);
  take("--gpu-count", out.gpu_count, file.gpu_count);
  take("--device", out.device, file.device);
  take("--idle", out.idle, file.idle);
  take("--threads", out.threads, file.threads);
  take("--cancel-grace", out.cancel_grace_s, file.cancel_grace_s);
  take("--workspace", out.workspace, file.workspace);
  take("--python", out.python, file.python);
  // Lists add up; what the command line says of a model or a variable goes first or wins.
  take("--call-timeout", out.call_timeout, file.call_timeout);
  take("--load-timeout", out.load_timeout, file.load_timeout);
  take("--start-timeout", out.start_timeout, file.start_timeout);
  take("--warm-idle", out.warm_idle, file.warm_idle);
  take("--device-memory", out.device_memory, file.device_memory);
  take("--host-memory", out.host_memory, file.host_memory);
  take("--isolate", out.isolate, file.isolate);
  out.network = out.network || file.network;
  out.read.insert(out.read.end(), file.read_folders.begin(), file.read_folders.end());
  out.write.insert(out.write.end(), file.write_folders.begin(), file.write_folders.end());
  out.file_models = file.models;
  out.model_idle.insert(out.model_idle.begin(), file.model_idle.begin(), file.model_idle.end());
  out.pin.insert(out.pin.begin(), file.pin.begin(), file.pin.end());
  out.python_packages.insert(out.python_packages.end(), file.python_packages.begin(),
                             file.python_packages.end());
  out.system_packages.insert(out.system_packages.end(), file.system_packages.begin(),
                             file.system_packages.end());
  out.secrets.insert(out.secrets.end(), file.secrets.begin(), file.secrets.end());
  for (auto& [key, value] : file.env) out.env.insert(out.env.begin(), key + "=" + value);
  // Words that name an interface of the file choose it; others bring one more.
  out.interfaces.clear();
  for (auto& one : file.interfaces) {
    out.interfaces.push_back(one.file);
    out.names[one.file] = one.name;
  }
  for (auto& word : interfaces) {
    const bool named = std::any_of(file.interfaces.begin(), file.interfaces.end(),
                                   [&](auto& one) { return one.name == word; });
    if (named) {
      out.shown.push_back(word);
      continue;
    }
    auto found = sandbox::find_interface(word);
    if (!found) {
      std::string known;
      for (auto& one : file.interfaces) known += (known.empty() ? "" : ", ") + one.name;
      throw std::invalid_argument(
          fmt::format("{}; {} names: {}", found.error().message, config_file, known));
    }
    out.interfaces.push_back(word);
    out.names[word] = found->stem().string();
    out.shown.push_back(out.names[word]);
  }
  out.config_file.clear();
  return out;
}

std::vector<sandbox::Manifest> SandboxOptions::shown_of(
    std::vector<sandbox::Manifest> manifests) const {
  if (!shown.empty())
    std::erase_if(manifests, [&](auto& one) {
      return std::find(shown.begin(), shown.end(), one.name) == shown.end();
    });
  return manifests;
}

std::vector<std::string> SandboxOptions::words() const {
  const SandboxOptions standard;
  std::vector<std::string> out;
  auto add = [&](const char* option, const std::string& value) {
    out.emplace_back(option);
    out.push_back(value);
  };
  auto full = [](const std::string& path) {
    return fs::absolute(path).lexically_normal().string();
  };
  if (!config_file.empty()) add("--config", full(config_file));
  if (!sandbox_name.empty()) add("--sandbox", sandbox_name);
  for (auto& one : interfaces) {
    const auto file = sandbox::find_interface(one);
    const bool named = one.find('/') == one.npos && !fs::path(one).has_extension();
    out.push_back(named || !file ? one : file->string());
  }
  for (auto& model : models) {
    const size_t equals = model.find('=');
    add("--model", equals == model.npos
                       ? model
                       : model.substr(0, equals + 1) + full(model.substr(equals + 1)));
  }
  if (device != standard.device) add("--device", device);
  if (idle != standard.idle) add("--idle", idle);
  if (provider != standard.provider) add("--provider", provider);
  if (!gpu.empty()) add("--gpu", gpu);
  if (gpu_count != standard.gpu_count) add("--gpu-count", std::to_string(gpu_count));
  if (threads != standard.threads) add("--threads", std::to_string(threads));
  if (cancel_grace_s != standard.cancel_grace_s)
    add("--cancel-grace", fmt::format("{}", cancel_grace_s));
  for (auto& one : dtypes) add("--dtype", one);
  for (auto& one : hidden) add("--hidden", one);
  for (auto& one : adapters) {
    const size_t equals = one.find('=');
    add("--adapter",
        equals == one.npos ? one : one.substr(0, equals + 1) + full(one.substr(equals + 1)));
  }
  for (auto& one : bases) add("--base", one);
  if (call_timeout != standard.call_timeout) add("--call-timeout", call_timeout);
  if (load_timeout != standard.load_timeout) add("--load-timeout", load_timeout);
  if (!start_timeout.empty()) add("--start-timeout", start_timeout);
  if (!isolate.empty()) out.push_back("--isolate=" + isolate);
  if (network) out.push_back("--network");
  for (auto& one : read) add("--read", full(one));
  for (auto& one : write) add("--write", full(one));
  for (auto& one : model_idle) add("--model-idle", one);
  for (auto& one : pin) add("--pin", one);
  if (!warm_idle.empty()) add("--warm-idle", warm_idle);
  if (!device_memory.empty()) add("--device-memory", device_memory);
  if (!host_memory.empty()) add("--host-memory", host_memory);
  if (!python.empty()) add("--python", python.find('/') == python.npos ? python : full(python));
  for (auto& package : python_packages) add("--python-package", package);
  for (auto& package : system_packages) add("--system-package", package);
  for (auto& one : env) add("--env", one);
  for (auto& one : secrets) add("--secret", one);
  if (!workspace.empty()) add("--workspace", full(workspace));
  return out;
}

namespace {

double seconds_of(const std::string& option, const std::string& text) {
  if (const auto seconds = sandbox::parse_seconds(text)) return *seconds;
  throw std::invalid_argument(
      fmt::format("{} {}: expected seconds, 0 or more, or never", option, text));
}

uint64_t size_of(const std::string& option, const std::string& text) {
  if (const auto bytes = sandbox::parse_size(text)) return *bytes;
  throw std::invalid_argument(
      fmt::format("{} {}: expected a size, as in 512M, 20G or 1.5T", option, text));
}

// NAME=VALUE, neither empty.
std::pair<std::string, std::string> pair_of(const std::string& option, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == text.npos || equals == 0 || equals + 1 == text.size())
    throw std::invalid_argument(fmt::format("{} {}: expected NAME=VALUE", option, text));
  return {text.substr(0, equals), text.substr(equals + 1)};
}

}  // namespace

// What models may take, and how long they and each step may.
void SandboxOptions::read_limits(sandbox::SandboxConfig& config) const {
  for (const std::string& one : model_idle) {
    const size_t equals = one.rfind('=');
    if (equals == one.npos)
      config.model_idle_s = seconds_of("--model-idle", one);
    else
      config.model_idle_of[one.substr(0, equals)] =
          seconds_of("--model-idle", one.substr(equals + 1));
  }
  if (!warm_idle.empty()) config.warm_idle_s = seconds_of("--warm-idle", warm_idle);
  config.pin = pin;
  if (!device_memory.empty()) config.device_memory = size_of("--device-memory", device_memory);
  if (!host_memory.empty()) config.host_memory = size_of("--host-memory", host_memory);
  config.call_timeout_s = seconds_of("--call-timeout", call_timeout);
  config.load_timeout_s = seconds_of("--load-timeout", load_timeout);
  if (!start_timeout.empty()) config.start_timeout_s = seconds_of("--start-timeout", start_timeout);
  config.cancel_grace_s = cancel_grace_s;
}

// The command line's models, then the file's; what the command line says of one goes before.
void SandboxOptions::read_models(sandbox::SandboxConfig& config) const {
  auto model_named = [&](const std::string& model_name) -> sandbox::ModelConfig& {
    for (auto& one : config.models) {
      if (one.name == model_name) return one;
    }
    for (auto& one : file_models) {
      if (one.name == model_name) return config.models.emplace_back(one);
    }
    return config.models.emplace_back(sandbox::ModelConfig{.name = model_name});
  };
  std::set<std::string> placed;
  for (const std::string& model : models) {
    const size_t equals = model.find('=');
    const std::string model_name = model.substr(0, equals);
    if (model_name.empty())
      throw std::invalid_argument(fmt::format("--model {}: a name is missing before '='", model));
    if (equals != model.npos && equals + 1 == model.size())
      throw std::invalid_argument(
          fmt::format("--model {}: the folder is empty; expected NAME or NAME=FOLDER", model));
    auto& one = model_named(model_name);
    if (equals != model.npos && placed.insert(model_name).second)
      one.path = fs::absolute(model.substr(equals + 1)).lexically_normal();
  }
  for (auto& one : file_models) model_named(one.name);
  for (const std::string& one : adapters) {
    const auto [model_name, folder] = pair_of("--adapter", one);
    model_named(model_name).adapter = fs::absolute(folder).lexically_normal();
  }
  for (const std::string& one : bases) {
    const auto [model_name, base] = pair_of("--base", one);
    model_named(model_name).base = base;
  }
  for (const std::string& one : dtypes) {
    const auto [model_name, dtype] = pair_of("--dtype", one);
    model_named(model_name).dtype = dtype;
  }
  for (const std::string& model_name : hidden) model_named(model_name).hidden = true;
}

std::vector<sandbox::Manifest> SandboxOptions::manifests() const {
  std::vector<sandbox::Manifest> out;
  if (started) {
    auto all = sandbox::load_manifests(*started);
    if (!all) throw std::invalid_argument(all.error().message);
    sandbox::settle_tool_names(*all);
    return std::move(*all);
  }
  const std::vector<std::string> wanted =
      interfaces.empty() ? std::vector<std::string>{"embeddings"} : interfaces;
  for (const std::string& one : wanted) {
    auto library = sandbox::find_interface(one);
    if (!library) throw std::invalid_argument(library.error().message);
    auto manifest = sandbox::load_manifest(*library);
    if (!manifest) throw std::invalid_argument(manifest.error().message);
    if (const auto name_given = names.find(one); name_given != names.end())
      manifest->name = name_given->second;
    out.push_back(std::move(*manifest));
  }
  sandbox::settle_tool_names(out);
  return out;
}

sandbox::SandboxConfig SandboxOptions::config(
    const std::vector<sandbox::Manifest>& manifests) const {
  sandbox::SandboxConfig config = started.value_or(sandbox::SandboxConfig{});
  sandbox::set_interfaces(config, manifests);
  if (started) return config;
  config.python_packages = python_packages;
  config.system_packages = system_packages;
  // A path is the same wherever the worker starts.
  config.python_version =
      python.find('/') == python.npos ? python : fs::absolute(python).lexically_normal().string();
  config.secrets = secrets;
  for (const std::string& one : env) {
    const size_t equals = one.find('=');
    if (equals == one.npos || equals == 0)
      throw std::invalid_argument(fmt::format("--env {}: expected NAME=VALUE", one));
    config.env[one.substr(0, equals)] = one.substr(equals + 1);
  }
  for (const std::string& name : secrets) {
    if (const char* value = std::getenv(name.c_str()); !value || !*value)
      throw std::invalid_argument(
          fmt::format("--secret {}: there is no such variable in the environment", name));
  }
  read_models(config);
  if (device != "auto" && device != "cpu" && device != "cuda" && !device.starts_with("cuda:"))
    throw std::invalid_argument(
        fmt::format("--device {}: expected auto, cpu, cuda or cuda:N", device));
  config.device = device;
  config.threads = threads;
  read_limits(config);
  if (auto parsed = sandbox::Provider::parse(provider); !parsed)
    throw std::invalid_argument(parsed.error().message);
  config.provider = provider;
  config.gpu = gpu;
  config.gpu_count = gpu_count;
  config.isolate = isolate;
  config.network = network;
  for (auto& one : read) config.read.push_back(fs::absolute(one).lexically_normal());
  for (auto& one : write) config.write.push_back(fs::absolute(one).lexically_normal());
  const double idle_s = seconds_of("--idle", idle);
  config.idle_s = std::isfinite(idle_s) ? std::optional(idle_s) : std::nullopt;
  if (std::string problem = config.problem(); !problem.empty())
    throw std::invalid_argument(problem);
  return config;
}

fs::path SandboxOptions::workspace_folder() const {
  if (!workspace.empty()) return fs::absolute(workspace);
  if (const char* project = std::getenv("CLAUDE_PROJECT_DIR"); project && *project == '/')
    return project;
  // The host's working folder, unless that is no place of the user's work.
  std::error_code error;
  const fs::path here = fs::current_path(error);
  const char* home = std::getenv("HOME");
  if (!error && here != "/" && (!home || here != fs::path(home)) && access(here.c_str(), W_OK) == 0)
    return here;
  return sandbox::cache_folder() / "workspace";
}

sandbox::FrontServerOptions front_server_options(const SandboxOptions& given) {
  const SandboxOptions options = given.resolved();
  auto manifests = options.manifests();
  sandbox::FrontServerOptions out{.config = options.config(manifests),
                                  .workspace = options.workspace_folder(),
                                  .name = options.name,
                                  .instructions = kInstructions,
                                  .program_tools = options.shell_tools};
  out.manifests = options.shown_of(std::move(manifests));
  return out;
}

sandbox::FrontServerOptions changing_server_options(const SandboxOptions& given) {
  auto out = front_server_options(given);
  out.offer_now = [given] {
    if (!given.sandbox_name.empty() && !sandbox::load_record(given.sandbox_name))
      return sandbox::Offer{.gone =
                                fmt::format("the sandbox {} was terminated", given.sandbox_name)};
    auto now = front_server_options(given);
    return sandbox::Offer{std::move(now.config), std::move(now.manifests)};
  };
  if (!given.config_file.empty())
    out.watched.push_back(fs::absolute(given.config_file).lexically_normal());
  if (!given.sandbox_name.empty()) out.watched.push_back(sandbox::record_path(given.sandbox_name));
  return out;
}

}  // namespace gpumcp::cli
