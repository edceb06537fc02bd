// Worker: what a worker's process serves: its interfaces, opened and named, or the relay to those
// that run elsewhere; the calls; its leaving. Owned by run_worker() (worker.h), whose main thread
// builds, loads and serves it; the methods of its server run on that server's threads. It is never
// destroyed: a call that hangs would keep its destructor.
//
//   Worker ─▶ load() ─▶ serve_socket() | serve_stdio() | serve_connection() ─▶ exit code
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "mcp/server.h"
#include "sandbox/plugin_loader.h"
#include "sandbox/relay.h"
#include "sandbox/tool_names.h"
#include "sandbox/worker.h"

namespace gpumcp::sandbox {

// Counts time and wakes when something about the calls changed.
class Pulse {
 public:
  void beat() {
    std::scoped_lock lock(mutex_);
    changed_ = true;
    wake_.notify_all();
  }
  // Returns at the deadline, or after a beat.
  void wait_until(std::optional<std::chrono::steady_clock::time_point> deadline) {
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
  explicit Worker(const WorkerOptions& options);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // How its interfaces are isolated, and where their own folders go.
  void set_isolation(std::string how, std::filesystem::path scratch) {
    isolation_ = std::move(how);
    scratch_ = std::move(scratch);
  }
  mcp::Result<void> load();

  // One peer over a connection of its own, until either end closes.
  int serve_connection(int fd);
  int serve_stdio();
  // Serves the socket until the worker leaves; the caller then exits with the code.
  int serve_socket(const RuntimeFolder& folder, int listen_fd);

 private:
  using Clock = std::chrono::steady_clock;

  mcp::Result<void> load_relay();
  mcp::Result<void> load_interfaces();
  void add_methods();
  // From now on what this worker holds is written there too.
  void open_ledger(const std::string& path);
  // At the end, when nothing is held any more.
  void close_ledgers();
  double held_s() const;
  // The peer is told, and ends the connection when the calls that run have ended.
  void leave_soon(const std::string& why);
  bool idle() const;
  std::optional<double> idle_limit_s() const;
  Clock::time_point idle_deadline() const;
  Clock::duration grace() const;
  bool stuck() const { return stuck_calls() > 0; }
  std::optional<Clock::time_point> next_deadline() const;
  // Takes the worker off the map and tells its fronts. Without `force` it gives up if a call came
  // meanwhile. The folder is locked only for taking down, so that a new worker can start while
  // calls of this one end.
  bool leave(const RuntimeFolder& folder, const char* why, bool force);
  static bool is_ours(const RuntimeFolder& folder);
  void remove_scratch() const;
  size_t stuck_calls() const { return server_.abandoned_before(Clock::now() - grace()); }
  mcp::Json status();

  const SandboxConfig config_;
  const Clock::time_point started_ = Clock::now();
  Pulse pulse_;
  std::atomic<bool> stop_asked_ = false, killed_ = false;
  std::atomic<bool> broken_ = false;       // an interface said that the process is of no more use
  std::atomic<bool> serves_peer_ = false;  // over a connection of its own, not the socket
  std::atomic<double> idle_s_ = config_.idle_s.value_or(kNever);
  mcp::Server server_;
  ToolGuard guard_;
  RenamingRegistry registry_;  // server_, with tools renamed and guarded
  PluginHost host_;
  const bool for_fronts_;
  std::vector<std::unique_ptr<InterfaceHost>> interface_hosts_;
  std::unique_ptr<Relay> relay_;
  const std::string ledger_id_;
  std::mutex ledgers_mutex_;
  std::set<std::string> ledgers_;  // guarded by it
  std::string isolation_;          // empty: none
  std::filesystem::path scratch_;
  const Clock::time_point born_ = server_.last_activity();
};

}  // namespace gpumcp::sandbox
