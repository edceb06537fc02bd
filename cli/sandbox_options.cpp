#include "cli/sandbox_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "sandbox/provider.h"
#include "sandbox/sandbox_file.h"
#include "sandbox/tool_names.h"

namespace gpumcp::cli {
namespace fs = std::filesystem;

namespace {
constexpr const char* kInstructions =
    "Functions of this server run on a GPU worker that starts with the first call and leaves when "
    "idle, so the first "
    "call may take some seconds. Large results are kept as artifacts, named by "
    "gpumcp://artifacts/… URIs: pass a URI "
    "on to other tools (similarity takes them), read it as a resource for the .npy bytes, or ask "
    "for output \"file\".";
}  // namespace

void SandboxOptions::declare(CLI::App& app, bool positional_interfaces, std::string* name_option) {
  this->app = &app;
  app.add_option("--config", config_file,
                 "a gpumcp.toml that says all this; options here go before it")
      ->type_name("FILE");
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
  app.add_option("--cancel-grace", cancel_grace_s,
                 "seconds that a cancelled call may go on before its worker is replaced")
      ->capture_default_str();
  app.add_option("--python", python, "Python interfaces: the version (3.11) or interpreter to use")
      ->type_name("VERSION|PATH");
  app.add_option("--python-package", python_packages,
                 "Python interfaces: a package that they need, as for pip; repeatable");
  app.add_option("--env", env, "a variable for Python interfaces; repeatable")
      ->type_name("NAME=VALUE");
  app.add_option("--secret", secrets,
                 "a variable of this environment that is kept out of logs and results; repeatable")
      ->type_name("NAME");
}

SandboxOptions SandboxOptions::resolved() const {
  SandboxOptions out = *this;
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
  out.models.insert(out.models.end(), file.models.begin(), file.models.end());
  out.python_packages.insert(out.python_packages.end(), file.python_packages.begin(),
                             file.python_packages.end());
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
  for (auto& one : model_idle) add("--model-idle", one);
  for (auto& one : pin) add("--pin", one);
  if (!warm_idle.empty()) add("--warm-idle", warm_idle);
  if (!device_memory.empty()) add("--device-memory", device_memory);
  if (!host_memory.empty()) add("--host-memory", host_memory);
  if (!python.empty()) add("--python", python.find('/') == python.npos ? python : full(python));
  for (auto& package : python_packages) add("--python-package", package);
  for (auto& one : env) add("--env", one);
  for (auto& one : secrets) add("--secret", one);
  if (!workspace.empty()) add("--workspace", full(workspace));
  return out;
}

namespace {

// Seconds, 0 or more, or "never".
mcp::Json parse_seconds(const std::string& option, const std::string& text) {
  if (text == "never") return text;
  char* end = nullptr;
  const double seconds = std::strtod(text.c_str(), &end);
  if (text.empty() || *end || !(seconds >= 0 && seconds <= 1e9))
    throw std::invalid_argument(
        fmt::format("{} {}: expected seconds, 0 or more, or never", option, text));
  return seconds;
}

// 512M, 20G, 1.5T, 1000000: powers of ten, as disks and weights are sold.
uint64_t parse_size(const std::string& option, const std::string& text) {
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
    throw std::invalid_argument(
        fmt::format("{} {}: expected a size, as in 512M, 20G or 1.5T", option, text));
  return static_cast<uint64_t>(number * factor);
}

}  // namespace

mcp::Json SandboxOptions::runtime() const {
  mcp::Json out = mcp::Json::object();
  for (const std::string& one : model_idle) {
    const size_t equals = one.rfind('=');
    if (equals == one.npos)
      out["model_idle_s"] = parse_seconds("--model-idle", one);
    else
      out["model_idle_of"][one.substr(0, equals)] =
          parse_seconds("--model-idle", one.substr(equals + 1));
  }
  if (!warm_idle.empty()) out["warm_idle_s"] = parse_seconds("--warm-idle", warm_idle);
  if (!pin.empty()) out["pin"] = pin;
  if (!device_memory.empty()) out["device_memory"] = parse_size("--device-memory", device_memory);
  if (!host_memory.empty()) out["host_memory"] = parse_size("--host-memory", host_memory);
  return out;
}

std::vector<sandbox::Manifest> SandboxOptions::manifests() const {
  std::vector<sandbox::Manifest> out;
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
  sandbox::SandboxConfig config;
  for (auto& manifest : manifests) {
    config.interfaces.push_back(manifest.library);
    if (manifests.size() > 1) config.interface_names.push_back(manifest.name);
    for (auto& path : manifest.dependencies) {
      if (path != manifest.library) config.dependencies.push_back(path);
    }
  }
  config.python.packages = python_packages;
  // A path is the same wherever the worker starts.
  config.python.version =
      python.find('/') == python.npos ? python : fs::absolute(python).lexically_normal().string();
  config.python.secrets = secrets;
  for (const std::string& one : env) {
    const size_t equals = one.find('=');
    if (equals == one.npos || equals == 0)
      throw std::invalid_argument(fmt::format("--env {}: expected NAME=VALUE", one));
    config.python.env[one.substr(0, equals)] = one.substr(equals + 1);
  }
  for (const std::string& name : secrets) {
    if (const char* value = std::getenv(name.c_str()); !value || !*value)
      throw std::invalid_argument(
          fmt::format("--secret {}: there is no such variable in the environment", name));
  }
  for (const std::string& model : models) {
    const size_t equals = model.find('=');
    const std::string model_name = model.substr(0, equals);
    if (model_name.empty())
      throw std::invalid_argument(fmt::format("--model {}: a name is missing before '='", model));
    if (equals != model.npos && equals + 1 == model.size())
      throw std::invalid_argument(
          fmt::format("--model {}: the folder is empty; expected NAME or NAME=FOLDER", model));
    if (config.default_model.empty()) config.default_model = model_name;
    config.models[model_name] =
        equals == model.npos ? ""
                             : fs::absolute(model.substr(equals + 1)).lexically_normal().string();
  }
  if (device != "auto" && device != "cpu" && device != "cuda" && !device.starts_with("cuda:"))
    throw std::invalid_argument(
        fmt::format("--device {}: expected auto, cpu, cuda or cuda:N", device));
  config.device = device;
  config.threads = threads;
  config.runtime = runtime();
  config.cancel_grace_s = cancel_grace_s;
  if (auto parsed = sandbox::Provider::parse(provider); !parsed)
    throw std::invalid_argument(parsed.error().message);
  config.provider = provider;
  config.gpu = gpu;
  config.gpu_count = gpu_count;
  if (idle == "never") {
    config.idle_s.reset();
  } else {
    char* end = nullptr;
    const double seconds = std::strtod(idle.c_str(), &end);
    if (idle.empty() || *end || !(seconds >= 0 && seconds <= 1e9))
      throw std::invalid_argument(
          fmt::format("--idle {}: expected seconds, 0 or more, or never", idle));
    config.idle_s = seconds;
  }
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

FrontServer::FrontServer(const SandboxOptions& given) {
  const SandboxOptions options = given.resolved();
  auto manifests = options.manifests();
  sandbox::SandboxConfig config = options.config(manifests);
  server = std::make_unique<mcp::Server>(mcp::ServerOptions{
      .name = options.name,
      .version = GPUMCP_VERSION,
      .instructions = kInstructions,
      .max_tasks = 0});  // calls run in the worker, whose tasks nobody could ask after
  front = std::make_unique<sandbox::Front>(
      sandbox::FrontOptions{std::move(config), options.workspace_folder()});
  manifests = options.shown_of(std::move(manifests));
  if (!options.shell_tools.empty()) {
    sandbox::Manifest shell{.name = "shell"};
    for (const std::string& tool : options.shell_tools)
      shell.tools.push_back({.name = tool,
                             .description = "of this program's commands",
                             .inputSchema = {{"type", "object"}}});
    manifests.push_back(std::move(shell));
  }
  front->attach(*server, std::move(manifests));
}

}  // namespace gpumcp::cli
