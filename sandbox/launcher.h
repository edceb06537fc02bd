// Launcher: start or attach. Under the folder's lock it reads the connection file and connects to
// the worker that lives there, or starts one and waits until it answers. Starting is single-flight
// across processes by the lock. Blocking; used by one thread at a time.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>

#include "mcp/client.h"
#include "sandbox/runtime_folder.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

// A worker that this process started; it reaps it, and knows how it ended. Thread-safe.
class WorkerProcess {
 public:
  explicit WorkerProcess(int pid) : pid_(pid) {}
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;
  WorkerProcess& operator=(const WorkerProcess&) = delete;

  int pid() const { return pid_; }
  // Waits up to `limit` for its end: "was killed by signal 9 (Killed)…", "exited with code 1";
  // empty: it runs.
  std::string ending(std::chrono::milliseconds limit);

 private:
  const int pid_;
  std::mutex mutex_;  // guards what follows, and who reaps
  bool reaped_ = false;
  std::string ending_;
};

struct Attached {
  std::unique_ptr<mcp::Client> client;
  std::shared_ptr<WorkerProcess> process;  // empty: another front started it
  int pid = 0;
};

class Launcher {
 public:
  explicit Launcher(SandboxConfig config) : config_(std::move(config)), key_(config_.key()) {}
  // Start or attach. `client_options` carries the callbacks of the connection to be made.
  // `on_note` hears how a start goes that takes long.
  using OnNote = std::function<void(std::string_view what)>;
  mcp::Result<Attached> attach(mcp::ClientOptions client_options, const OnNote& on_note = {});

  const SandboxConfig& config() const { return config_; }
  const std::string& key() const { return key_; }

 private:
  mcp::Result<std::shared_ptr<WorkerProcess>> start(const RuntimeFolder& folder,
                                                    const OnNote& on_note);

  const SandboxConfig config_;
  const std::string key_;
};

// Asks the worker of a folder to leave after the calls that run, and waits for that. busy: they
// still ran when the patience was over; it leaves after them. `pid`: whose, if there was one.
enum class Stopped { nobody, gone, busy };
Stopped stop_worker(const RuntimeFolder& folder, std::chrono::milliseconds patience,
                    int* pid = nullptr);

// Connects to the worker of a folder, if one answers there.
mcp::Result<std::unique_ptr<mcp::Client>> connect_worker(const ConnectionFile& connection,
                                                         mcp::ClientOptions options);

}  // namespace gpumcp::sandbox
