#include "sandbox/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <limits>
#include <set>
#include <thread>

#include "mcp/exit_watch.h"
#include "mcp/line_transport.h"
#include "mcp/server.h"
#include "sandbox/callback.h"
#include "sandbox/carried.h"
#include "sandbox/host_library.h"
#include "sandbox/isolation.h"
#include "sandbox/ledger.h"
#include "sandbox/manifest.h"
#include "sandbox/plugin_loader.h"
#include "sandbox/relay.h"
#include "sandbox/tool_names.h"

namespace gpumcp::sandbox {
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kFrontRoom = 1u << 20;  // fronts add their _meta to a message of full length
constexpr double kForever = std::numeric_limits<double>::infinity();

// Fatal signals leave a line in the log, so that a front can say what happened; then the default
// action.
void on_fatal_signal(int signal) {
  const char* name = signal == SIGSEGV  ? "SIGSEGV"
                     : signal == SIGBUS ? "SIGBUS"
                     : signal == SIGFPE ? "SIGFPE"
                     : signal == SIGILL ? "SIGILL"
                                        : "SIGABRT";
  const char head[] = "fatal: the worker got ";
  [[maybe_unused]] auto a = ::write(2, head, sizeof head - 1);
  [[maybe_unused]] auto b = ::write(2, name, std::strlen(name));
  [[maybe_unused]] auto c = ::write(2, "\n", 1);
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

mcp::Json plugin_options(const SandboxConfig& config) {
  mcp::Json options = {{"device", config.device}, {"models", mcp::Json::object()}};
  for (const ModelConfig& model : config.models) {
    options["models"][model.name] = model.path.string();
    mcp::Json more = mcp::Json::object();
    if (!model.dtype.empty()) more["dtype"] = model.dtype;
    if (model.hidden) more["hidden"] = true;
    if (!model.adapter.empty()) more["adapter"] = model.adapter.string();
    if (!model.base.empty()) more["base"] = model.base;
    if (!more.empty()) options["model_options"][model.name] = std::move(more);
  }
  if (!config.models.empty()) options["default_model"] = config.models.front().name;
  options["interfaces"] = config.interfaces.size();
  if (config.threads > 0) options["threads"] = config.threads;
  const mcp::Json all = config.to_json();
  for (const char* same : {"device_memory", "host_memory", "model_idle_s", "warm_idle_s",
                           "model_idle_of", "pin", "load_timeout_s"}) {
    if (all.contains(same)) options[same] = all[same];
  }
  options["artifact_dir"] = (cache_folder() / "artifacts" / config.key()).string();
  options["workspace"] = (cache_folder() / "workspace").string();
  return options;
}

// Counts time and wakes when something about the calls changed.
class Pulse {
 public:
  void beat() {
    std::scoped_lock lock(mutex_);
    changed_ = true;
    wake_.notify_all();
  }
  // Returns at the deadline, or after a beat.
  void wait_until(std::optional<Clock::time_point> deadline) {
    std::unique_lock lock(mutex_);
    if (deadline)
      wake_.wait_until(lock, *deadline, [&] { return changed_; });
    else
      wake_.wait(lock, [&] { return changed_; });
    changed_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool changed_ = false;
};

// Calls back, on a thread of its own, when SIGUSR1 comes: batch systems send it before they end a
// job. One at a time in a process.
class PreTimeout {
 public:
  explicit PreTimeout(std::function<void()> on_signal) {
    event_ = eventfd(0, EFD_CLOEXEC);
    std::signal(SIGUSR1, [](int) { tell(1); });
    thread_ = std::thread([on_signal = std::move(on_signal)] {
      uint64_t said = 0;
      while (::read(event_, &said, sizeof said) < 0 && errno == EINTR) {
      }
      if (said < kEnd) on_signal();
    });
  }
  ~PreTimeout() {
    std::signal(SIGUSR1, SIG_IGN);
    tell(kEnd);
    thread_.join();
    ::close(event_);
  }
  PreTimeout(const PreTimeout&) = delete;
  PreTimeout& operator=(const PreTimeout&) = delete;

 private:
  static constexpr uint64_t kEnd = uint64_t{1} << 32;
  static void tell(uint64_t what) { [[maybe_unused]] auto n = ::write(event_, &what, sizeof what); }
  static inline int event_ = -1;
  std::thread thread_;
};

class Worker {
 public:
  explicit Worker(const WorkerOptions& options)
      : config_(options.config),
        server_({.name = "gpumcp",
                 .version = GPUMCP_VERSION,
                 .max_message_bytes = mcp::kMaxMessageBytes + kFrontRoom,
                 // a front brings the calls of all its clients
                 .max_calls_per_session = std::numeric_limits<size_t>::max(),
                 .on_change = [this] { pulse_.beat(); },
                 .max_tasks = 0}),
        registry_(server_),
        host_(registry_, plugin_options(config_), !options.stdio),
        for_fronts_(!options.stdio || options.config_stdin) {
    host_.on_leave = [this](const std::string& why) {
      if (broken_.exchange(true)) return;
      spdlog::error("{}: the worker is replaced", why);
      if (serves_peer_) leave_soon(why);
      pulse_.beat();
    };
  }

  // How its interfaces are isolated, and where their own folders go.
  void set_isolation(std::string how, std::filesystem::path scratch) {
    isolation_ = std::move(how);
    scratch_ = std::move(scratch);
  }

  mcp::Result<void> load() {
    if (auto ok = config_.provider == "local" ? load_interfaces() : load_relay(); !ok) return ok;
    if (for_fronts_ && !relay_)
      server_.add_tool(load_tool(), [this](const mcp::Json&, mcp::Context& context) {
        host_.load(context);
        return mcp::CallToolResult::text("everything is loaded");
      });
    add_methods();
    return {};
  }

  mcp::Result<void> load_relay() {
    auto provider = Provider::parse(config_.provider);
    if (!provider) return tl::unexpected(std::move(provider.error()));
    auto manifests = load_manifests(config_);
    if (!manifests) return tl::unexpected(std::move(manifests.error()));
    if (auto names = settled(*manifests); !names) return tl::unexpected(std::move(names.error()));
    relay_ = std::make_unique<Relay>(config_, std::move(*provider), std::move(*manifests), [this] {
      stop_asked_ = true;  // the next call starts another, and with it a new job
      pulse_.beat();
    });
    relay_->attach(server_);
    host_.on_status([this] { return relay_->status(); });
    host_.on_shutdown([this] { relay_->stop(); });
    return {};
  }

  static mcp::Result<std::vector<ToolNames>> settled(std::vector<Manifest>& manifests) {
    try {
      return settle_tool_names(manifests);
    } catch (const std::invalid_argument& e) {
      return mcp::fail(mcp::ErrorCode::invalid_params, e.what());
    }
  }

  mcp::Result<void> load_interfaces() {
    // The names depend on all interfaces; one alone has its own.
    std::vector<ToolNames> names(config_.interfaces.size());
    if (names.size() > 1) {
      auto manifests = load_manifests(config_);
      if (!manifests) return tl::unexpected(std::move(manifests.error()));
      auto all = settled(*manifests);
      if (!all) return tl::unexpected(std::move(all.error()));
      names = std::move(*all);
    }
    for (size_t i = 0; i < config_.interfaces.size(); ++i) {
      const auto& library = config_.interfaces[i];
      registry_.rename(std::move(names[i]));
      registry_.hide(words_of_hidden(config_.models));
      const auto host_library = find_host_library(library);
      auto entry = open_plugin(host_library.value_or(library));
      if (!entry) return tl::unexpected(std::move(entry.error()));
      try {
        if (host_library) {
          auto manifest = load_manifest(library);
          if (!manifest) return tl::unexpected(std::move(manifest.error()));
          std::vector<std::string> wrap;
          if (!isolation_.empty()) {
            const auto own = scratch_ / std::to_string(i);
            std::filesystem::create_directory(own);
            wrap = isolation_words(config_, isolation_, library, own);
          }
          interface_hosts_.push_back(
              std::make_unique<InterfaceHost>(host_, host_options(*manifest, config_, wrap)));
          (*entry)->load(*interface_hosts_.back());
        } else {
          (*entry)->load(host_);
        }
      } catch (const std::exception& e) {
        return mcp::fail(mcp::ErrorCode::internal_error,
                         fmt::format("{}: {}", library.string(), e.what()));
      }
    }
    return {};
  }

  void add_methods() {
    server_.add_method("gpumcp/status", [this](std::string_view) -> mcp::Result<std::string> {
      return mcp::to_text(status());
    });
    server_.add_method("gpumcp/stop", [this](std::string_view) -> mcp::Result<std::string> {
      stop_asked_ = true;
      pulse_.beat();
      return std::string("{}");
    });
    server_.add_method(kAttachMethod, [this](std::string_view params) -> mcp::Result<std::string> {
      auto json = mcp::parse_json(params);
      if (!json || !json->contains("idle_s"))
        return mcp::fail(mcp::ErrorCode::invalid_params, "params.idle_s: seconds or null");
      const mcp::Json& wanted = (*json)["idle_s"];
      const double idle_s = wanted.is_number() ? wanted.get<double>() : kForever;
      // One thread a connection may be here.
      for (double now = idle_s_; idle_s > now && !idle_s_.compare_exchange_weak(now, idle_s);) {
      }
      if (const auto ledger = json->find("ledger"); ledger != json->end() && ledger->is_string())
        open_ledger(ledger->get<std::string>());
      pulse_.beat();
      return std::string("{}");
    });
  }

  // From now on what this worker holds is written there too.
  void open_ledger(const std::string& path) {
    const bool known = [&] {
      std::scoped_lock lock(ledgers_mutex_);
      return !ledgers_.insert(path).second;
    }();
    if (!known) append_ledger(path, ledger_line(ledger_id_, ledger_now(), held_s(), false));
  }

  // At the end, when nothing is held any more.
  void close_ledgers() {
    std::scoped_lock lock(ledgers_mutex_);
    for (const std::string& path : ledgers_)
      append_ledger(path, ledger_line(ledger_id_, ledger_now(), held_s(), true));
  }

  double held_s() const {
    const mcp::Json status = host_.status();
    const auto held = status.find("held_s");
    return held != status.end() && held->is_number() ? held->get<double>() : 0;
  }

  // One peer over a connection of its own, until either end closes.
  int serve_connection(int fd) {
    serves_peer_ = true;
    PreTimeout soon([this] { leave_soon("the job ends"); });
    auto transport = mcp::make_line_transport(fd, fd, {.max_message_bytes = 256u << 20});
    mcp::ExitWatch watch([this] { server_.shut_down(); }, {.parent = true});
    server_.serve(*transport);
    watch.leave_soon();
    host_.shutdown();
    remove_scratch();
    return 0;
  }

  int serve_stdio() {
    serves_peer_ = true;
    PreTimeout soon([this] { leave_soon("the job ends"); });
    const int code = server_.serve_stdio();
    host_.shutdown();
    remove_scratch();
    return code;
  }

  // Serves the socket until the worker leaves; the caller then exits with the code.
  int serve_socket(const RuntimeFolder& folder, int listen_fd) {
    std::thread acceptor([&] { server_.serve_listener(listen_fd); });
    mcp::ExitWatch watch([this] {
      killed_ = true;
      pulse_.beat();
    });
    int code = 0;
    while (true) {
      const bool stopping = killed_ || stop_asked_ || broken_;
      if (stopping || stuck()) {
        code = stopping ? 0 : kWorkerReplaced;
        if (!stopping) spdlog::error("a call ignores its cancellation; the worker is replaced");
        leave(folder,
              broken_    ? "it can do its work no more"
              : stopping ? "stopped"
                         : "a call would not end",
              true);
        break;
      }
      if (idle() && leave(folder, "idle", false)) break;
      pulse_.wait_until(next_deadline());
    }
    server_.stop();
    acceptor.join();
    return code;
  }

 private:
  // The peer is told, and ends the connection when the calls that run have ended.
  void leave_soon(const std::string& why) {
    spdlog::info("{}: new calls go elsewhere", why);
    const mcp::Json params = {{"reason", why}, {"running", server_.calls_in_flight()}};
    server_.notify_all(kLeavingNotification, params.dump());
    server_.drain();
  }
  bool idle() const {
    return idle_limit_s() && server_.calls_in_flight() == 0 && Clock::now() >= idle_deadline();
  }
  std::optional<double> idle_limit_s() const {
    const double limit = idle_s_;
    return std::isfinite(limit) ? std::optional(limit) : std::nullopt;
  }
  Clock::time_point idle_deadline() const {
    // The front that started this worker has a call for it: that one is waited for, however short
    // the idle time.
    const bool fresh = server_.last_activity() == born_;
    const double idle_s = fresh ? std::max(idle_s_.load(), 10.0) : idle_s_.load();
    return server_.last_activity() +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(idle_s));
  }
  Clock::duration grace() const {
    return std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(config_.cancel_grace_s));
  }
  bool stuck() const { return stuck_calls() > 0; }
  std::optional<Clock::time_point> next_deadline() const {
    std::optional<Clock::time_point> next;
    if (idle_limit_s() && server_.calls_in_flight() == 0) next = idle_deadline();
    if (auto since = server_.oldest_abandoned())
      next = next ? std::min(*next, *since + grace()) : *since + grace();
    return next;
  }

  // Takes the worker off the map and tells its fronts. Without `force` it gives up if a call came
  // meanwhile. The folder is locked only for taking down, so that a new worker can start while
  // calls of this one end.
  bool leave(const RuntimeFolder& folder, const char* why, bool force) {
    {
      auto lock = folder.lock();
      if (!force && server_.calls_in_flight() > 0) return false;
      server_.drain();
      if (is_ours(folder)) folder.remove(false);
    }
    const size_t running = server_.calls_in_flight();
    server_.notify_all(kLeavingNotification,
                       fmt::format(R"({{"reason":"{}","running":{}}})", why, running));
    // Calls that were begun may end; those that will not are left behind.
    while (server_.calls_in_flight() > stuck_calls() && !killed_) {
      const auto since = server_.oldest_abandoned();
      pulse_.wait_until(since ? std::optional(Clock::now() + std::chrono::milliseconds(100))
                              : std::nullopt);
    }
    try {
      host_.shutdown();
    } catch (const std::exception& e) {
      spdlog::error("at the end: {}", e.what());  // a full disk, say: what was to be kept is lost
    }
    close_ledgers();
    remove_scratch();
    spdlog::info("leaving: {}", why);
    auto lock = folder.lock();
    if (!folder.read_connection()) folder.remove(true);  // else another worker lives there by now
    return true;
  }

  static bool is_ours(const RuntimeFolder& folder) {
    auto connection = folder.read_connection();
    return connection && connection->pid == getpid();
  }

  void remove_scratch() const {
    std::error_code ignored;
    if (!scratch_.empty()) std::filesystem::remove_all(scratch_, ignored);
  }
  size_t stuck_calls() const { return server_.abandoned_before(Clock::now() - grace()); }

  mcp::Json status() {
    using Seconds = std::chrono::duration<double>;
    mcp::Json out = {{"pid", getpid()},
                     {"version", GPUMCP_VERSION},
                     {"uptime_s", Seconds(Clock::now() - started_).count()},
                     {"calls_in_flight", server_.calls_in_flight()},
                     {"connections", server_.connections()},
                     {"idle_s", idle_limit_s() ? mcp::Json(*idle_limit_s()) : mcp::Json("never")},
                     {"idle_for_s", Seconds(Clock::now() - server_.last_activity()).count()}};
    mcp::Json interfaces = mcp::Json::array();
    for (auto& path : config_.interfaces) interfaces.push_back(path.stem().string());
    out["interfaces"] = std::move(interfaces);
    out.update(host_.status());
    return out;
  }

  const SandboxConfig config_;
  const Clock::time_point started_ = Clock::now();
  Pulse pulse_;
  std::atomic<bool> stop_asked_ = false, killed_ = false;
  std::atomic<bool> broken_ = false;       // an interface said that the process is of no more use
  std::atomic<bool> serves_peer_ = false;  // over a connection of its own, not the socket
  std::atomic<double> idle_s_ = config_.idle_s.value_or(kForever);
  mcp::Server server_;
  RenamingRegistry registry_;  // server_, with tools renamed
  PluginHost host_;
  const bool for_fronts_;
  std::vector<std::unique_ptr<InterfaceHost>> interface_hosts_;
  std::unique_ptr<Relay> relay_;
  const std::string ledger_id_ = fmt::format("{}-{:.3f}", getpid(), ledger_now());
  std::mutex ledgers_mutex_;
  std::set<std::string> ledgers_;  // guarded by it
  std::string isolation_;          // empty: none
  std::filesystem::path scratch_;
  const Clock::time_point born_ = server_.last_activity();
};

// Artifacts of sandboxes that nobody started again (another build, other options): no file lives
// longer than a day, and an empty folder goes.
void sweep_artifacts(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(24);
  for (auto& sandbox : fs::directory_iterator(root, ignored)) {
    if (!sandbox.is_directory(ignored) || sandbox.is_symlink(ignored)) continue;
    for (auto& file : fs::directory_iterator(sandbox.path(), ignored)) {
      if (file.is_regular_file(ignored) && file.last_write_time(ignored) < old)
        fs::remove(file.path(), ignored);
    }
    fs::remove(sandbox.path(), ignored);  // fails while something is in it
  }
}

}  // namespace

mcp::Tool load_tool() {
  return {.name = "gpumcp_load",
          .description = "Loads what the first call would load, and says what is wrong with it.",
          .inputSchema = {{"type", "object"}}};
}

namespace {

// Folders of workers that ended without tidying up.
void sweep_scratch(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  for (auto& entry : fs::directory_iterator(root, ignored)) {
    const std::string name = entry.path().filename().string();
    const int pid = std::atoi(name.substr(name.rfind('-') + 1).c_str());
    if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH) fs::remove_all(entry.path(), ignored);
  }
}

// Isolates this process if its interfaces are its own code, before it has a thread. Returns how
// interfaces are to be isolated, and the folder of theirs. Throws std::runtime_error.
std::pair<std::string, std::filesystem::path> isolate(const SandboxConfig& config,
                                                      const RuntimeFolder* folder) {
  namespace fs = std::filesystem;
  if (config.isolate.empty() || config.provider != "local") return {};
  bool native = false;
  bool python = false;
  for (auto& interface : config.interfaces) (find_host_library(interface) ? python : native) = true;
  const std::string how = choose_isolation(config.isolate, native);
  if (native && python && !config.python_packages.empty())
    throw std::runtime_error(
        "isolate: python_packages are fetched by the worker, which has no network when native "
        "interfaces are isolated: serve the two in sandboxes of their own");
  const fs::path root = cache_folder() / "isolated";
  sweep_scratch(root);
  const fs::path scratch = root / fmt::format("{}-{}", config.key(), getpid());
  fs::create_directories(scratch);
  fs::permissions(scratch, fs::perms::owner_all);
  if (native) {
    const fs::path artifacts = cache_folder() / "artifacts" / config.key();
    const fs::path workspace = cache_folder() / "workspace";
    for (auto& own : {artifacts, workspace}) fs::create_directories(own);
    std::vector<fs::path> write = {artifacts, workspace}, entries = {root};
    if (folder) {
      write.push_back(folder->path());
      entries.push_back(folder->path().parent_path());
    }
    isolate_worker(config, scratch, write, entries);
  }
  return {how, scratch};
}

void report(int ready_fd, std::string_view text) {
  if (ready_fd < 0) return;
  [[maybe_unused]] auto n = ::write(ready_fd, text.data(), text.size());
  ::close(ready_fd);
}

}  // namespace

namespace {

// The first line of stdin, byte by byte, so that the protocol finds the rest.
std::string read_first_line() {
  std::string line;
  char c = 0;
  ssize_t n = 0;
  while ((n = ::read(0, &c, 1)) == 1 || (n < 0 && errno == EINTR)) {
    if (n < 0) continue;
    if (c == '\n') break;
    line += c;
  }
  return line;
}

void say_hello(mcp::Json more) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  mcp::Json hello = {
      {"gpumcp_worker", 1}, {"version", GPUMCP_VERSION}, {"pid", getpid()}, {"host", host}};
  hello.update(more);
  const std::string line = mcp::to_text(hello) + "\n";
  [[maybe_unused]] auto n = ::write(1, line.data(), line.size());
}

// For a relay elsewhere: it is told everything on stdin, says hello or what is wrong, and serves.
int run_carried_worker() {
  auto fail = [](const std::string& error) {
    spdlog::error("{}", error);
    say_hello({{"error", error}});
    return 1;
  };
  try {
    const std::string line = read_first_line();
    // Before anything is isolated, and may have no network.
    int called_back = -1;
    if (auto json = mcp::parse_json(line);
        json && json->is_object() && json->contains("callback")) {
      auto connected = connect_back((*json)["callback"]);
      if (connected)
        called_back = *connected;
      else
        spdlog::warn("no connection back ({}); the pipe is used", connected.error().message);
    }
    WorkerOptions options{.config = unpack_config(line), .config_stdin = true, .stdio = true};
    auto [how, scratch] = isolate(options.config, nullptr);
    Worker* worker = new Worker(options);
    worker->set_isolation(how, scratch);
    if (auto ok = worker->load(); !ok) return fail(ok.error().message);
    say_hello({{"called_back", called_back >= 0}});
    const int code =
        called_back >= 0 ? worker->serve_connection(called_back) : worker->serve_stdio();
    fflush(nullptr);
    _exit(code);
  } catch (const std::exception& e) {
    return fail(e.what());
  }
}

}  // namespace

int run_worker(const WorkerOptions& options) {
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    std::signal(signal, on_fatal_signal);
  auto fail = [&](const mcp::Error& error) {
    spdlog::error("{}", error.message);
    report(options.ready_fd, error.message);
    return 1;
  };
  if (options.config_stdin) return run_carried_worker();
  std::optional<RuntimeFolder> folder;
  if (!options.stdio) {
    auto opened = RuntimeFolder::open(options.config.key());
    if (!opened) return fail(opened.error());
    folder = std::move(*opened);
  }
  std::pair<std::string, std::filesystem::path> isolation;
  try {
    isolation = isolate(options.config, folder ? &*folder : nullptr);
  } catch (const std::exception& e) {
    return fail({mcp::ErrorCode::io_error, e.what()});
  }
  // On the heap and never destroyed: a call that hangs would keep its destructor.
  Worker* worker = new Worker(options);
  worker->set_isolation(isolation.first, isolation.second);
  if (options.stdio) {
    if (auto ok = worker->load(); !ok) return fail(ok.error());
    return worker->serve_stdio();
  }
  if (auto ok = worker->load(); !ok) return fail(ok.error());
  auto listener = mcp::listen_unix(folder->socket());
  if (!listener) return fail(listener.error());
  ConnectionFile connection{
      .address = "unix:" + folder->socket().string(), .pid = getpid(), .version = GPUMCP_VERSION};
  connection.started_at =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  if (auto ok = folder->write_connection(connection); !ok) return fail(ok.error());
  report(options.ready_fd, "ready\n");
  sweep_artifacts(cache_folder() / "artifacts");
  spdlog::info("worker {} serves {}", getpid(), connection.address);
  const int code = worker->serve_socket(*folder, *listener);
  fflush(nullptr);
  _exit(code);  // static destructors of a GPU runtime may hang or crash; everything worth keeping
                // is kept
}

}  // namespace gpumcp::sandbox
