#include "sandbox/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <cstring>
#include <thread>

#include "mcp/exit_watch.h"
#include "mcp/line_transport.h"
#include "mcp/server.h"
#include "sandbox/manifest.h"
#include "sandbox/plugin_loader.h"

namespace gpumcp::sandbox {
namespace {

using Clock = std::chrono::steady_clock;

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
  mcp::Json options = {{"device", config.device}, {"models", config.models}};
  if (!config.default_model.empty()) options["default_model"] = config.default_model;
  if (config.threads > 0) options["threads"] = config.threads;
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

class Worker {
 public:
  explicit Worker(const WorkerOptions& options)
      : config_(options.config),
        server_(
            {.name = "gpumcp", .version = GPUMCP_VERSION, .on_change = [this] { pulse_.beat(); }}),
        host_(server_, plugin_options(config_)) {}

  mcp::Result<void> load() {
    for (auto& library : config_.interfaces) {
      auto entry = open_plugin(library);
      if (!entry) return tl::unexpected(std::move(entry.error()));
      try {
        (*entry)->load(host_);
      } catch (const std::exception& e) {
        return mcp::fail(mcp::ErrorCode::internal_error,
                         fmt::format("{}: {}", library.string(), e.what()));
      }
    }
    server_.add_method("gpumcp/status", [this](std::string_view) -> mcp::Result<std::string> {
      return mcp::to_text(status());
    });
    server_.add_method("gpumcp/stop", [this](std::string_view) -> mcp::Result<std::string> {
      stop_asked_ = true;
      pulse_.beat();
      return std::string("{}");
    });
    return {};
  }

  int serve_stdio() {
    const int code = server_.serve_stdio();
    host_.shutdown();
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
      const bool stopping = killed_ || stop_asked_;
      if (stopping || stuck()) {
        code = stopping ? 0 : kWorkerReplaced;
        if (!stopping) spdlog::error("a call ignores its cancellation; the worker is replaced");
        leave(folder, stopping ? "stopped" : "a call would not end", true);
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
  bool idle() const {
    return config_.idle_s && server_.calls_in_flight() == 0 && Clock::now() >= idle_deadline();
  }
  Clock::time_point idle_deadline() const {
    // The front that started this worker has a call for it: that one is waited for, however short
    // the idle time.
    const bool fresh = server_.last_activity() == born_;
    const double idle_s = fresh ? std::max(*config_.idle_s, 10.0) : *config_.idle_s;
    return server_.last_activity() +
           std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(idle_s));
  }
  Clock::duration grace() const {
    return std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(config_.cancel_grace_s));
  }
  bool stuck() const {
    const auto since = server_.oldest_abandoned();
    return since && Clock::now() >= *since + grace();
  }
  std::optional<Clock::time_point> next_deadline() const {
    std::optional<Clock::time_point> next;
    if (config_.idle_s && server_.calls_in_flight() == 0) next = idle_deadline();
    if (auto since = server_.oldest_abandoned())
      next = next ? std::min(*next, *since + grace()) : *since + grace();
    return next;
  }

  // Takes the worker off the map and tells its fronts. Without `force` it gives up if a call came
  // meanwhile.
  bool leave(const RuntimeFolder& folder, const char* why, bool force) {
    auto lock = folder.lock();
    if (!force && server_.calls_in_flight() > 0) return false;
    server_.drain();
    folder.remove(false);
    server_.notify_all(kLeavingNotification, fmt::format(R"({{"reason":"{}"}})", why));
    // Calls that were begun may end; one that will not is left behind.
    while (server_.calls_in_flight() > 0 && !killed_) {
      const auto since = server_.oldest_abandoned();
      const bool only_stuck = stuck() && server_.calls_in_flight() == 1;
      if (only_stuck) break;
      pulse_.wait_until(since ? std::optional(Clock::now() + std::chrono::milliseconds(100))
                              : std::nullopt);
    }
    if (server_.calls_in_flight() > (stuck() ? 1u : 0u))
      server_.notify_all(kAbortedNotification, "{}");
    host_.shutdown();
    spdlog::info("leaving: {}", why);
    folder.remove(true);
    return true;
  }

  mcp::Json status() {
    using Seconds = std::chrono::duration<double>;
    mcp::Json out = {{"pid", getpid()},
                     {"version", GPUMCP_VERSION},
                     {"uptime_s", Seconds(Clock::now() - started_).count()},
                     {"calls_in_flight", server_.calls_in_flight()},
                     {"connections", server_.connections()},
                     {"idle_s", config_.idle_s ? mcp::Json(*config_.idle_s) : mcp::Json("never")},
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
  mcp::Server server_;
  PluginHost host_;
  const Clock::time_point born_ = server_.last_activity();
};

void report(int ready_fd, std::string_view text) {
  if (ready_fd < 0) return;
  [[maybe_unused]] auto n = ::write(ready_fd, text.data(), text.size());
  ::close(ready_fd);
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
  // On the heap and never destroyed: a call that hangs would keep its destructor.
  Worker* worker = new Worker(options);
  if (options.stdio) {
    if (auto ok = worker->load(); !ok) return fail(ok.error());
    return worker->serve_stdio();
  }
  auto folder = RuntimeFolder::open(options.config.key());
  if (!folder) return fail(folder.error());
  if (auto ok = worker->load(); !ok) return fail(ok.error());
  auto listener = mcp::listen_unix(folder->socket());
  if (!listener) return fail(listener.error());
  ConnectionFile connection{
      .address = "unix:" + folder->socket().string(), .pid = getpid(), .version = GPUMCP_VERSION};
  connection.started_at =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  if (auto ok = folder->write_connection(connection); !ok) return fail(ok.error());
  report(options.ready_fd, "ready\n");
  spdlog::info("worker {} serves {}", getpid(), connection.address);
  const int code = worker->serve_socket(*folder, *listener);
  fflush(nullptr);
  _exit(code);  // static destructors of a GPU runtime may hang or crash; everything worth keeping
                // is kept
}

}  // namespace gpumcp::sandbox
