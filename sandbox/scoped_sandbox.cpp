#include "sandbox/scoped_sandbox.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>

#include "sandbox/launcher.h"
#include "sandbox/provider.h"
#include "sandbox/sandbox_record.h"
#include "sandbox/tool_names.h"
#include "sandbox/worker.h"

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using std::chrono::milliseconds;
namespace {

constexpr auto kStopPatience = std::chrono::seconds(30);  // for calls that run
constexpr auto kEndPatience = std::chrono::seconds(10);   // for calls that were cancelled

std::string random_sandbox_name() {
  uint64_t number = 0;
  if (getrandom(&number, sizeof number, 0) != sizeof number)
    number = static_cast<uint64_t>(getpid());
  return fmt::format("sandbox-{:012x}", number & 0xffffffffffff);
}

std::string text_of(const mcp::CallToolResult& result) {
  std::string out;
  for (auto& block : result.content) {
    if (const auto* text = std::get_if<mcp::TextContent>(&block.value)) out += text->text;
  }
  return out;
}

template <class T>
T value_or_throw(mcp::Result<T> result) {
  if (!result) throw SandboxError(result.error().message);
  return std::move(*result);
}

}  // namespace

ScopedSandbox::ScopedSandbox(SandboxConfig config, std::string name)
    : name_(name.empty() ? random_sandbox_name() : std::move(name)), config_(std::move(config)) {}

std::unique_ptr<ScopedSandbox> ScopedSandbox::attach(const std::string& name) {
  const SandboxRecord record = value_or_throw(load_record(name));
  auto out = std::make_unique<ScopedSandbox>(record.config, name);
  out->owner_ = false;
  out->record_owner_ = record.owner;
  out->record_owner_began_ = record.owner_began;
  out->state_ = State::started;
  out->rebuild(record.config, value_or_throw(load_manifests(record.config)));
  return out;
}

std::vector<std::string> ScopedSandbox::list() { return list_records(); }

ScopedSandbox::~ScopedSandbox() {
  if (!owner_) return;
  try {
    terminate();
  } catch (const std::exception&) {
    // Its worker idles out, and its record goes with this process.
  }
}

SandboxConfig ScopedSandbox::config() const {
  std::scoped_lock lock(mutex_);
  return config_;
}

void ScopedSandbox::check() const {
  if (std::string problem = check_sandbox_name(name_); !problem.empty())
    throw SandboxError(problem);
  if (std::string problem = config_.problem(); !problem.empty()) throw SandboxError(problem);
  if (auto provider = Provider::parse(config_.provider); !provider)
    throw SandboxError(provider.error().message);
  for (const ModelConfig& model : config_.models) {
    std::error_code error;
    if (config_.provider == "local" && !model.path.empty() && !fs::is_directory(model.path, error))
      throw SandboxError(
          fmt::format("model {}: there is no folder {}", model.name, model.path.string()));
  }
  for (const std::string& secret : config_.secrets) {
    if (const char* value = std::getenv(secret.c_str()); !value || !*value)
      throw SandboxError(
          fmt::format("the secret {}: there is no such variable in the environment", secret));
  }
}

void ScopedSandbox::start() {
  std::scoped_lock serving(serving_);
  std::scoped_lock lock(mutex_);
  if (state_ == State::over)
    throw SandboxError(fmt::format("the sandbox {} was terminated", name_));
  if (state_ == State::started) return;
  check();
  if (load_record(name_))
    throw SandboxError(fmt::format(
        "there is a sandbox {} already: attach to it, or give this one another name", name_));
  config_.interfaces.clear();
  config_.interface_names.clear();
  config_.dependencies.clear();
  record_owner_ = getpid();
  record_owner_began_ = process_began(record_owner_);
  save(config_);
  state_ = State::started;
}

void ScopedSandbox::save(const SandboxConfig& config) const {
  const SandboxRecord record{
      .name = name_, .config = config, .owner = record_owner_, .owner_began = record_owner_began_};
  if (auto ok = save_record(record); !ok) throw SandboxError(ok.error().message);
}

// Makes the front of what is served from now on, and tells others by the record.
void ScopedSandbox::rebuild(SandboxConfig config, std::vector<Manifest> manifests) {
  std::vector<Manifest> shown = manifests;
  try {
    settle_tool_names(shown);
  } catch (const std::invalid_argument& e) {
    throw SandboxError(e.what());
  }
  save(config);
  auto front = std::make_shared<FrontClient>(
      FrontServerOptions{
          .config = config, .manifests = std::move(shown), .program_tools = {load_tool().name}},
      mcp::ClientOptions{.info = {"ScopedSandbox", GPUMCP_VERSION}});
  std::string old_key;
  {
    std::scoped_lock lock(mutex_);
    if (front_ && config_.key() != config.key()) old_key = config_.key();
    config_ = std::move(config);
    manifests_ = std::move(manifests);
    std::swap(front_, front);
  }
  // Calls of other threads may still hold the old front, and end by it.
  if (!old_key.empty()) end_worker(old_key, false);
}

ServedInterface ScopedSandbox::serve(const fs::path& interface, const ServeOptions& options) {
  start();
  std::string name;
  {
    std::scoped_lock serving(serving_);
    const fs::path file = value_or_throw(find_interface(interface.string()));
    Manifest manifest = value_or_throw(load_manifest(file));
    if (!options.name.empty()) manifest.name = options.name;
    name = manifest.name;
    std::vector<Manifest> all;
    SandboxConfig config;
    {
      std::scoped_lock lock(mutex_);
      all = manifests_;
      config = config_;
    }
    const auto same =
        std::find_if(all.begin(), all.end(), [&](auto& one) { return one.name == name; });
    if (same == all.end())
      all.push_back(std::move(manifest));
    else if (same->library == manifest.library)
      *same = std::move(manifest);
    else
      throw SandboxError(
          fmt::format("the sandbox {} serves {} as \"{}\" already: give {} another name", name_,
                      same->library.string(), name, file.string()));
    set_interfaces(config, all);
    if (all.size() == 1) config.interface_names = {name};  // who comes by the record wants it too
    // Its own, whatever else runs with the same settings, and the same for all who come by the
    // name, whatever their environment.
    config.fixed_key.clear();
    config.fixed_key = fmt::format("{:016x}", hash_bytes(name_ + "|" + config.key())).substr(0, 12);
    rebuild(std::move(config), std::move(all));
  }
  if (options.load) load(options.on_progress);
  for (ServedInterface& one : served()) {
    if (one.name == name) return std::move(one);
  }
  throw SandboxError(fmt::format("the sandbox {} was terminated", name_));
}

std::vector<ServedInterface> ScopedSandbox::served() const {
  std::vector<Manifest> shown;
  {
    std::scoped_lock lock(mutex_);
    shown = manifests_;
  }
  settle_tool_names(shown);
  std::vector<ServedInterface> out;
  for (Manifest& manifest : shown) {
    ServedInterface one{.name = manifest.name,
                        .manifest = std::move(manifest),
                        .serve_command = {program_path().string(), "serve", "--sandbox", name_}};
    if (shown.size() > 1) one.serve_command.push_back(one.name);
    out.push_back(std::move(one));
  }
  return out;
}

std::shared_ptr<FrontClient> ScopedSandbox::front() const {
  std::scoped_lock lock(mutex_);
  if (state_ == State::over)
    throw SandboxError(fmt::format("the sandbox {} was terminated", name_));
  if (!front_) throw SandboxError(fmt::format("the sandbox {} serves nothing yet", name_));
  return front_;
}

void ScopedSandbox::load(const std::function<void(const std::string&)>& on_progress) {
  mcp::CallOptions options{.timeout = std::chrono::hours(24 * 365)};  // the steps have their own
  if (on_progress) {
    options.on_progress = [&](const mcp::Json& progress) {
      if (const std::string what = progress.value("message", ""); !what.empty()) on_progress(what);
    };
  }
  const mcp::CallToolResult result = call(load_tool().name, mcp::Json::object(), options);
  if (!result.isError) return;
  std::string why = text_of(result);
  // Who asks for loading knows nothing of the tool that does it.
  for (const std::string& head :
       {load_tool().name + " was not run: ", load_tool().name + " failed: "}) {
    if (why.starts_with(head)) why.erase(0, head.size());
  }
  throw SandboxError(why);
}

mcp::CallToolResult ScopedSandbox::call(const std::string& tool, const mcp::Json& arguments,
                                        const mcp::CallOptions& options) {
  const auto used = front();
  auto result = used->client().call_tool(tool, arguments, options);
  if (!result) throw SandboxError(result.error().message);
  return std::move(*result);
}

mcp::Json ScopedSandbox::status() const {
  const auto connection = RuntimeFolder::at(config().key()).read_connection();
  if (!connection) return nullptr;
  const auto limit = std::chrono::seconds(3);
  auto client = connect_worker(*connection, {.connect_timeout = limit});
  if (!client) return nullptr;
  const auto text = (*client)->request("gpumcp/status", "", {.timeout = limit});
  if (!text) return nullptr;
  mcp::Json out = mcp::Json::parse(*text);
  out.erase("_meta");
  out.erase("resultType");
  return out;
}

void ScopedSandbox::end_worker(const std::string& key, bool hard) const {
  const RuntimeFolder folder = RuntimeFolder::at(key);
  int pid = 0;
  const milliseconds patience = hard ? milliseconds(kEndPatience) : milliseconds(kStopPatience);
  const Stopped how = stop_worker(folder, patience, &pid);
  if (!hard || how == Stopped::nobody) return;
  if (const int process =
          how == Stopped::busy ? static_cast<int>(syscall(SYS_pidfd_open, pid, 0)) : -1;
      process >= 0) {
    for (const int signal : {SIGTERM, SIGKILL}) {
      syscall(SYS_pidfd_send_signal, process, signal, nullptr, 0);
      pollfd fds{process, POLLIN, 0};
      if (poll(&fds, 1, 3000) == 1) break;
    }
    ::close(process);
    if (auto lock = folder.lock()) folder.remove(true);
  }
  // If this process started it, whoever waited for its end is gone with the front.
  waitpid(pid, nullptr, WNOHANG);
}

void ScopedSandbox::stop() {
  std::scoped_lock serving(serving_);
  end_worker(config().key(), false);
}

void ScopedSandbox::terminate() {
  std::scoped_lock serving(serving_);
  std::shared_ptr<FrontClient> front;
  std::string key;
  {
    std::scoped_lock lock(mutex_);
    const bool started = state_ == State::started;
    state_ = State::over;
    if (!started) return;
    front = std::exchange(front_, nullptr);
    if (front) key = config_.key();
  }
  remove_record(name_);                // from here on nobody starts another worker by the name
  if (front) front->client().close();  // calls of other threads end, and are cancelled over there
  front.reset();
  if (key.empty()) return;
  end_worker(key, true);
  std::error_code ignored;
  fs::remove_all(cache_folder() / "artifacts" / key, ignored);
}

void ScopedSandbox::detach() {
  std::scoped_lock serving(serving_);
  front();  // it serves something, or throws
  record_owner_ = 0;
  record_owner_began_.clear();
  save(config());
  owner_ = false;
}

}  // namespace gpumcp::sandbox
