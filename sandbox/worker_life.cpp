#include "sandbox/worker_life.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmath>
#include <csignal>
#include <limits>
#include <thread>

#include "mcp/exit_watch.h"
#include "mcp/line_transport.h"
#include "sandbox/host_library.h"
#include "sandbox/isolation.h"
#include "sandbox/ledger.h"
#include "sandbox/manifest.h"

namespace gpumcp::sandbox {
namespace {

constexpr size_t kFrontRoom = 1u << 20;  // fronts add their _meta to a message of full length

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

mcp::Result<std::vector<ToolNames>> settled_names(std::vector<Manifest>& manifests) {
  try {
    return settle_tool_names(manifests);
  } catch (const std::invalid_argument& e) {
    return mcp::fail(mcp::ErrorCode::invalid_params, e.what());
  }
}

}  // namespace

Worker::Worker(const WorkerOptions& options)
    : config_(options.config),
      server_({.name = "gpumcp",
               .version = GPUMCP_VERSION,
               .max_message_bytes = mcp::kMaxMessageBytes + kFrontRoom,
               // a front brings the calls of all its clients
               .max_calls_per_session = std::numeric_limits<size_t>::max(),
               .on_change = [this] { pulse_.beat(); },
               .max_tasks = 0}),
      guard_(std::chrono::milliseconds(static_cast<int64_t>(config_.cancel_grace_s * 1000)),
             [this](const std::string& call) {
               server_.notify_all(kLateNotification, mcp::to_text({{"call", call}}));
             }),
      registry_(server_, &guard_),
      host_(registry_, plugin_options(config_), !options.stdio),
      for_fronts_(!options.stdio || options.config_stdin),
      ledger_id_(fmt::format("{}-{:.3f}", getpid(), ledger_now())) {
  host_.on_leave = [this](const std::string& why) {
    if (broken_.exchange(true)) return;
    spdlog::error("{}: the worker is replaced", why);
    if (serves_peer_) leave_soon(why);
    pulse_.beat();
  };
}

mcp::Result<void> Worker::load() {
  if (auto ok = config_.provider == "local" ? load_interfaces() : load_relay(); !ok) return ok;
  if (for_fronts_ && !relay_)
    server_.add_tool(load_tool(), guard_.wrap([this](const mcp::Json&, mcp::Context& context) {
      host_.load(context);
      return mcp::CallToolResult::text("everything is loaded");
    }));
  add_methods();
  return {};
}

mcp::Result<void> Worker::load_relay() {
  auto provider = Provider::parse(config_.provider);
  if (!provider) return tl::unexpected(std::move(provider.error()));
  auto manifests = load_manifests(config_);
  if (!manifests) return tl::unexpected(std::move(manifests.error()));
  if (auto names = settled_names(*manifests); !names)
    return tl::unexpected(std::move(names.error()));
  relay_ = std::make_unique<Relay>(config_, std::move(*provider), std::move(*manifests), [this] {
    stop_asked_ = true;  // the next call starts another, and with it a new job
    pulse_.beat();
  });
  relay_->attach(server_);
  host_.on_status([this] { return relay_->status(); });
  host_.on_shutdown([this] { relay_->stop(); });
  return {};
}

mcp::Result<void> Worker::load_interfaces() {
  guard_.set_words(hidden_words(config_));
  // The names depend on all interfaces; one alone has its own.
  std::vector<ToolNames> names(config_.interfaces.size());
  if (names.size() > 1) {
    auto manifests = load_manifests(config_);
    if (!manifests) return tl::unexpected(std::move(manifests.error()));
    auto all = settled_names(*manifests);
    if (!all) return tl::unexpected(std::move(all.error()));
    names = std::move(*all);
  }
  for (size_t i = 0; i < config_.interfaces.size(); ++i) {
    const auto& library = config_.interfaces[i];
    registry_.rename(std::move(names[i]));
    const auto host_library = find_host_library(library);
    guard_.keeps_time(host_library.has_value());
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

void Worker::add_methods() {
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
    const double idle_s = wanted.is_number() ? wanted.get<double>() : kNever;
    // One thread a connection may be here.
    for (double now = idle_s_; idle_s > now && !idle_s_.compare_exchange_weak(now, idle_s);) {
    }
    if (const auto ledger = json->find("ledger"); ledger != json->end() && ledger->is_string())
      open_ledger(ledger->get<std::string>());
    pulse_.beat();
    return std::string("{}");
  });
}

void Worker::open_ledger(const std::string& path) {
  const bool known = [&] {
    std::scoped_lock lock(ledgers_mutex_);
    return !ledgers_.insert(path).second;
  }();
  if (!known) append_ledger(path, ledger_line(ledger_id_, ledger_now(), held_s(), false));
}

void Worker::close_ledgers() {
  std::scoped_lock lock(ledgers_mutex_);
  for (const std::string& path : ledgers_)
    append_ledger(path, ledger_line(ledger_id_, ledger_now(), held_s(), true));
}

double Worker::held_s() const {
  const mcp::Json status = host_.status();
  const auto held = status.find("held_s");
  return held != status.end() && held->is_number() ? held->get<double>() : 0;
}

int Worker::serve_connection(int fd) {
  serves_peer_ = true;
  PreTimeout soon([this] { leave_soon("the job's time is nearly over"); });
  auto transport = mcp::make_line_transport(fd, fd, {.max_message_bytes = 256u << 20});
  mcp::ExitWatch watch([this] { server_.shut_down(); }, {.parent = true});
  server_.serve(*transport);
  watch.leave_soon();
  host_.shutdown();
  remove_scratch();
  return 0;
}

int Worker::serve_stdio() {
  serves_peer_ = true;
  PreTimeout soon([this] { leave_soon("the job's time is nearly over"); });
  const int code = server_.serve_stdio();
  host_.shutdown();
  remove_scratch();
  return code;
}

int Worker::serve_socket(const RuntimeFolder& folder, int listen_fd) {
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

void Worker::leave_soon(const std::string& why) {
  spdlog::info("{}: new calls go elsewhere", why);
  const mcp::Json params = {{"reason", why}, {"running", server_.calls_in_flight()}};
  server_.notify_all(kLeavingNotification, params.dump());
  server_.drain();
}

bool Worker::idle() const {
  return idle_limit_s() && server_.calls_in_flight() == 0 && Clock::now() >= idle_deadline();
}

std::optional<double> Worker::idle_limit_s() const {
  const double limit = idle_s_;
  return std::isfinite(limit) ? std::optional(limit) : std::nullopt;
}

Worker::Clock::time_point Worker::idle_deadline() const {
  // The front that started this worker has a call for it: that one is waited for, however short
  // the idle time.
  const bool fresh = server_.last_activity() == born_;
  const double idle_s = fresh ? std::max(idle_s_.load(), 10.0) : idle_s_.load();
  return server_.last_activity() +
         std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(idle_s));
}

Worker::Clock::duration Worker::grace() const {
  return std::chrono::duration_cast<Clock::duration>(
      std::chrono::duration<double>(config_.cancel_grace_s));
}

std::optional<Worker::Clock::time_point> Worker::next_deadline() const {
  std::optional<Clock::time_point> next;
  if (idle_limit_s() && server_.calls_in_flight() == 0) next = idle_deadline();
  if (auto since = server_.oldest_abandoned())
    next = next ? std::min(*next, *since + grace()) : *since + grace();
  return next;
}

bool Worker::leave(const RuntimeFolder& folder, const char* why, bool force) {
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

bool Worker::is_ours(const RuntimeFolder& folder) {
  auto connection = folder.read_connection();
  return connection && connection->pid == getpid();
}

void Worker::remove_scratch() const {
  std::error_code ignored;
  if (!scratch_.empty()) std::filesystem::remove_all(scratch_, ignored);
}

mcp::Json Worker::status() {
  using Seconds = std::chrono::duration<double>;
  mcp::Json out = {{"pid", getpid()},
                   {"version", GPUMCP_VERSION},
                   {"ledger_id", ledger_id_},
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

}  // namespace gpumcp::sandbox
