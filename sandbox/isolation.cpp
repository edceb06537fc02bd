#include "sandbox/isolation.h"

#include <fmt/format.h>
#include <link.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>
#include <stdexcept>

#include "sandbox/confine.h"
#include "sandbox/host_library.h"
#include "sandbox/manifest.h"
#include "sandbox/subprocess.h"

extern char** environ;

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::Json;
namespace {

// What programs need of any system, and nothing of its users. Of /etc only what says how libraries,
// names and time work.
const std::vector<fs::path>& system_paths() {
  static const std::vector<fs::path> paths = {"/usr",
                                              "/bin",
                                              "/sbin",
                                              "/lib",
                                              "/lib32",
                                              "/lib64",
                                              "/opt",
                                              "/nix/store",
                                              "/gnu/store",
                                              "/etc/ld.so.cache",
                                              "/etc/ld.so.conf",
                                              "/etc/ld.so.conf.d",
                                              "/etc/ld.so.preload",
                                              "/etc/alternatives",
                                              "/etc/nsswitch.conf",
                                              "/etc/passwd",
                                              "/etc/group",
                                              "/etc/hosts",
                                              "/etc/host.conf",
                                              "/etc/resolv.conf",
                                              "/etc/gai.conf",
                                              "/etc/services",
                                              "/etc/protocols",
                                              "/etc/localtime",
                                              "/etc/timezone",
                                              "/etc/locale.alias",
                                              "/etc/mime.types",
                                              "/etc/ssl",
                                              "/etc/ca-certificates",
                                              "/etc/pki",
                                              "/etc/OpenCL",
                                              "/etc/nvidia",
                                              "/etc/fonts"};
  return paths;
}

bool is_home_or_root(const fs::path& folder) {
  const char* home = std::getenv("HOME");
  return folder == "/" || folder == "/tmp" || folder == "/home" || folder == "/root" ||
         (home && folder == fs::path(home).lexically_normal());
}

// Where models are looked for by name (gpu_runtime/model_store.h), and where those of the
// configuration lie.
std::vector<fs::path> model_paths(const SandboxConfig& config) {
  std::vector<fs::path> out = {cache_folder() / "models"};
  if (const char* models = std::getenv("GPUMCP_MODELS"); models && *models)
    out.emplace_back(models);
  const char* hugging_face = std::getenv("HF_HOME");
  const char* home = std::getenv("HOME");
  if (hugging_face && *hugging_face)
    out.push_back(fs::path(hugging_face) / "hub");
  else if (home)
    out.push_back(fs::path(home) / ".cache/huggingface/hub");
  for (const ModelConfig& model : config.models) {
    if (!model.path.empty()) out.push_back(model.path);
    if (!model.adapter.empty()) out.push_back(model.adapter);
  }
  return out;
}

// What the kernel says of the machine and of this process. Not of others: their environment and
// memory are below /proc too.
void add_kernel(std::vector<fs::path>& read) {
  for (const char* name :
       {"cmdline", "cpuinfo", "devices", "driver", "filesystems", "loadavg", "meminfo", "modules",
        "self", "stat", "sys", "uptime", "version", "vmstat"})
    read.push_back(fs::path("/proc") / name);
  read.emplace_back("/sys");
}

// What the program itself consists of.
void add_program(std::vector<fs::path>& read) {
  const fs::path prefix = program_path().parent_path().parent_path();
  read.push_back(program_path());
  read.push_back(prefix / "lib");
}

// The folders of the libraries that one needs; nothing of it runs.
void add_libraries(std::vector<fs::path>& read, const fs::path& library) {
  std::string loader;
  dl_iterate_phdr(
      [](dl_phdr_info* info, size_t, void* out) {
        if (std::strstr(info->dlpi_name, "/ld-")) *static_cast<std::string*>(out) = info->dlpi_name;
        return 0;
      },
      &loader);
  if (loader.empty()) return;
  const auto listed = run_captured({loader, "--list", library.string()});
  if (!listed) return;
  std::set<fs::path> folders;
  for (size_t at = 0; (at = listed->out.find("=> /", at)) != std::string::npos;) {
    at += 3;
    const fs::path file = listed->out.substr(at, listed->out.find(' ', at) - at);
    std::error_code ignored;
    folders.insert(file.parent_path());
    folders.insert(fs::weakly_canonical(file, ignored).parent_path());
  }
  read.insert(read.end(), folders.begin(), folders.end());
}

// An interpreter with its libraries: its own prefix, that of a virtual environment's base too.
void add_interpreter(std::vector<fs::path>& read, const std::string& word) {
  fs::path file = word;
  if (word.find('/') == word.npos) {
    std::string_view path = std::getenv("PATH") ? std::getenv("PATH") : "/usr/bin:/bin";
    while (!path.empty()) {
      const std::string_view folder = path.substr(0, path.find(':'));
      path.remove_prefix(std::min(path.size(), folder.size() + 1));
      file = fs::path(folder) / word;
      if (access(file.c_str(), X_OK) == 0) break;
    }
  }
  std::error_code ignored;
  for (int links = 0; links < 16; ++links) {
    file = file.lexically_normal();
    const fs::path prefix = file.parent_path().parent_path();
    if (file.is_absolute() && !is_home_or_root(prefix)) read.push_back(prefix);
    const fs::path next = fs::read_symlink(file, ignored);
    if (next.empty()) break;
    file = next.is_absolute() ? next : file.parent_path() / next;
  }
}

std::vector<std::string> strings(const std::vector<fs::path>& paths) {
  std::vector<std::string> out;
  for (auto& path : paths) out.push_back(path.string());
  return out;
}

std::vector<fs::path> paths(const Json& json) {
  std::vector<fs::path> out;
  for (auto& one : json) out.emplace_back(one.get<std::string>());
  return out;
}

// What a program's environment may hold where nobody said that it may hold more: hosts give their
// children keys and tokens.
bool is_harmless(std::string_view name) {
  for (const std::string_view begin :
       {"LC_", "CUDA_", "NVIDIA_", "NV_", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "TORCH_",
        "PYTORCH_", "TRITON_", "ROCR_", "HIP_", "HF_", "TRANSFORMERS_", "TOKENIZERS_", "PYTHON"}) {
    if (name.starts_with(begin)) return name.find("TOKEN") == name.npos || begin == "TOKENIZERS_";
  }
  for (const std::string_view same :
       {"PATH", "LANG", "LANGUAGE", "TZ", "USER", "LOGNAME", "LD_LIBRARY_PATH", "GPUMCP_DEVICE",
        "GPUMCP_LOG", "VIRTUAL_ENV"}) {
    if (name == same) return true;
  }
  return false;
}

// Before the command is run: a home and a folder for temporary files of its own, and of the
// environment what it may know.
void clean_environment(const Json& spec) {
  std::vector<std::string> all;
  for (char** variable = environ; *variable; ++variable)
    all.emplace_back(*variable, std::strcspn(*variable, "="));
  const auto allowed = spec.value("variables", std::vector<std::string>{});
  for (const std::string& name : all) {
    if (!is_harmless(name) && std::find(allowed.begin(), allowed.end(), name) == allowed.end())
      unsetenv(name.c_str());
  }
  const std::string scratch = spec.at("scratch").get<std::string>();
  setenv("HOME", scratch.c_str(), 1);
  setenv("TMPDIR", scratch.c_str(), 1);
  if (const std::string hub = spec.value("hub", ""); !hub.empty())
    setenv("HF_HUB_CACHE", hub.c_str(), 0);
}

[[noreturn]] void exec(const std::vector<std::string>& command) {
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  throw std::runtime_error(fmt::format("{}: {}", command[0], std::strerror(errno)));
}

std::vector<std::string> bubblewrap_words(const Json& spec, const std::vector<fs::path>& read) {
  std::vector<std::string> out = {"bwrap",
                                  "--unshare-user",
                                  "--unshare-ipc",
                                  "--unshare-pid",
                                  "--unshare-uts",
                                  "--unshare-cgroup-try",
                                  "--die-with-parent",
                                  "--new-session",
                                  "--cap-drop",
                                  "ALL",
                                  "--proc",
                                  "/proc",
                                  "--dev",
                                  "/dev",
                                  "--tmpfs",
                                  "/tmp"};
  auto add = [&](std::initializer_list<std::string> words) {
    out.insert(out.end(), words.begin(), words.end());
  };
  if (!spec.value("network", false)) add({"--unshare-net"});
  std::error_code ignored;
  for (auto& entry : fs::directory_iterator("/dev", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("nvidia") || name == "dri" || name == "kfd")
      add({"--dev-bind", entry.path().string(), entry.path().string()});
  }
  add({"--ro-bind-try", "/sys", "/sys"});
  for (auto& path : read) add({"--ro-bind-try", path.string(), path.string()});
  for (auto& path : paths(spec.at("write"))) add({"--bind", path.string(), path.string()});
  const std::string scratch = spec.at("scratch").get<std::string>();
  add({"--bind", scratch, scratch, "--chdir", scratch, "--"});
  return out;
}

std::string bubblewrap_problem() {
  const auto tried = run_captured({"bwrap", "--unshare-user", "--unshare-pid", "--unshare-net",
                                   "--ro-bind", "/", "/", "--proc", "/proc", "true"});
  if (!tried) return "bubblewrap is not installed";
  if (tried->code == 0) return {};
  std::string said = tried->err.substr(0, tried->err.find('\n'));
  return fmt::format("bubblewrap cannot make a sandbox here ({})",
                     said.empty() ? fmt::format("exit code {}", tried->code) : said);
}

}  // namespace

std::string choose_isolation(const std::string& asked, bool native) {
  const char* remedy =
      "Install bubblewrap, or run a kernel with Landlock; without isolation interfaces run as "
      "everything else of the user does";
  std::string bubblewrap = native ? "native interfaces cannot be isolated by bubblewrap" : "";
  if (asked != "landlock") {
    if (bubblewrap.empty()) bubblewrap = bubblewrap_problem();
    if (bubblewrap.empty()) return "bubblewrap";
    if (asked == "bubblewrap")
      throw std::runtime_error(fmt::format("isolate = \"bubblewrap\": {}. {}", bubblewrap, remedy));
  }
  const std::string landlock = landlock_problem();
  if (landlock.empty()) return "landlock";
  if (asked == "landlock")
    throw std::runtime_error(fmt::format("isolate = \"landlock\": {}. {}", landlock, remedy));
  throw std::runtime_error(
      fmt::format("isolate: interfaces cannot be isolated on this machine: {}; {}. {}", bubblewrap,
                  landlock, remedy));
}

std::vector<std::string> isolation_words(const SandboxConfig& config, const std::string& how,
                                         const fs::path& interface, const fs::path& scratch) {
  std::vector<fs::path> read = system_paths();
  add_program(read);
  // Data files lie beside an interface; in a home folder lies everything.
  if (is_home_or_root(interface.parent_path())) {
    read.push_back(interface);
    read.insert(read.end(), config.dependencies.begin(), config.dependencies.end());
  } else {
    read.push_back(interface.parent_path());
  }
  for (auto& path : model_paths(config)) read.push_back(path);
  read.insert(read.end(), config.read.begin(), config.read.end());
  std::vector<std::string> variables = config.secrets;
  for (auto& [name, value] : config.env) variables.push_back(name);
  const char* hugging_face = std::getenv("HF_HOME");
  const char* home = std::getenv("HOME");
  const fs::path hub =
      (hugging_face && *hugging_face ? fs::path(hugging_face)
                                     : fs::path(home ? home : "/") / ".cache/huggingface") /
      "hub";
  const Json spec = {{"how", how},
                     {"network", config.network},
                     {"read", strings(read)},
                     {"write", strings(config.write)},
                     {"scratch", scratch.string()},
                     {"hub", hub.string()},
                     {"variables", variables}};
  return {program_path().string(), "isolated", "--spec", mcp::to_text(spec), "--"};
}

void run_isolated(const Json& spec, const std::vector<std::string>& command) try {
  if (command.empty()) throw std::runtime_error("there is no command to isolate");
  const std::string how = spec.at("how").get<std::string>();
  const bool network = spec.value("network", false);
  if (how == "calls") {  // inside bubblewrap, where names lead nowhere
    confine_calls(network, true);
    exec(command);
  }
  for (auto& path : paths(spec.at("write"))) {
    std::error_code error;
    if (!fs::is_directory(path, error))
      throw std::runtime_error(fmt::format("write {}: there is no such folder", path.string()));
  }
  std::vector<fs::path> read = paths(spec.at("read"));
  add_interpreter(read, command.front());
  clean_environment(spec);
  if (how == "bubblewrap") {
    std::vector<std::string> words = bubblewrap_words(spec, read);
    const Json inner = {{"how", "calls"}, {"network", network}};
    for (const std::string& word : {program_path().string(), std::string("isolated"),
                                    std::string("--spec"), mcp::to_text(inner), std::string("--")})
      words.push_back(word);
    words.insert(words.end(), command.begin(), command.end());
    exec(words);
  }
  if (how != "landlock") throw std::runtime_error(fmt::format("\"{}\" is no isolation", how));
  Confinement confinement{
      .read = std::move(read), .write = paths(spec.at("write")), .network = network};
  add_kernel(confinement.read);
  const std::string scratch = spec.at("scratch").get<std::string>();
  confinement.write.emplace_back(scratch);
  if (chdir(scratch.c_str()) != 0)
    throw std::runtime_error(fmt::format("{}: {}", scratch, std::strerror(errno)));
  confine_files(confinement);
  confine_calls(network, false);
  exec(command);
} catch (const Json::exception& e) {
  throw std::runtime_error(fmt::format("the description of the isolation is broken: {}", e.what()));
}

void isolate_worker(const SandboxConfig& config, const fs::path& scratch,
                    const std::vector<fs::path>& write, const std::vector<fs::path>& entries) {
  Confinement confinement{.read = system_paths(), .write = write, .entries = entries};
  confinement.network = config.network;
  add_program(confinement.read);
  add_kernel(confinement.read);
  add_interpreter(confinement.read, config.python_version.find('/') == std::string::npos
                                        ? "python3"
                                        : config.python_version);
  for (auto& interface : config.interfaces) {
    confinement.read.push_back(
        is_home_or_root(interface.parent_path()) ? interface : interface.parent_path());
    if (!find_host_library(interface)) add_libraries(confinement.read, interface);
  }
  for (auto* more : {&config.dependencies, &config.read})
    confinement.read.insert(confinement.read.end(), more->begin(), more->end());
  for (auto& path : model_paths(config)) confinement.read.push_back(path);
  confinement.read.push_back(cache_folder() / "manifests");
  confinement.read.push_back(cache_folder() / "environments");
  for (auto& path : config.write) {
    std::error_code error;
    if (!fs::is_directory(path, error))
      throw std::runtime_error(fmt::format("write {}: there is no such folder", path.string()));
    confinement.write.push_back(path);
  }
  confinement.write.push_back(scratch);
  setenv("TMPDIR", scratch.c_str(), 1);
  confine_files(confinement);
  confine_calls(config.network, false);
}

}  // namespace gpumcp::sandbox
