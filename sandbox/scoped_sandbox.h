// ScopedSandbox: a sandbox as a program holds it. It serves interfaces whose functions run in a
// worker with the GPU, here or wherever the provider starts it; the worker lives while calls run
// and a little longer (SandboxConfig::idle_s), so the GPU is not held while an agent thinks.
//
//   sandbox::ScopedSandbox sandbox({.gpu = "a100", .models = {{.name = "google/gemma-2-9b"}}});
//   auto tools = sandbox.serve("interface.py", {.name = "model_tools"});
//   auto result = sandbox.call("get_embedding", {{"text", "hello world"}});
//
//   made ──start()──▶ started ──serve()──▶ serving ──stop()──▶ no worker, until the next call
//                                             └──terminate()──▶ over: worker, record, artifacts
//                                             gone
//
// It goes with its scope: destruction terminates it, unless detach() left it for attach(). While it
// lives, other processes reach it by its name (`gpumcp serve --sandbox NAME`) and share its worker.
// Thread-safe. What goes wrong is thrown as SandboxError, in words for the user.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "mcp/client.h"
#include "sandbox/front_server.h"
#include "sandbox/manifest.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

class SandboxError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct ServeOptions {
  std::string name = {};  // the interface's, towards agents; empty: its file's, or its own
  // Start the worker and load the interface's own code now, so that what is wrong with it is told
  // here. Else the first call does.
  bool load = true;
  std::function<void(const std::string& what)> on_progress = {};  // how loading goes
};

// An interface that a sandbox serves: what libraries, modules and hosts' entries are made of.
struct ServedInterface {
  std::string name;
  Manifest manifest;                       // its tools, under the names that agents see
  std::vector<std::string> serve_command;  // serves them over stdio, by the sandbox's name
};

class ScopedSandbox final {
 public:
  // Without a name it gets a random one. Nothing is checked and nothing starts here.
  explicit ScopedSandbox(SandboxConfig config, std::string name = {});
  // A sandbox that another program left, or holds. Then that one ends it, not this object, unless
  // terminate() is called.
  static std::unique_ptr<ScopedSandbox> attach(const std::string& name);
  static std::vector<std::string> list();
  ~ScopedSandbox();
  ScopedSandbox(const ScopedSandbox&) = delete;
  ScopedSandbox& operator=(const ScopedSandbox&) = delete;

  const std::string& name() const { return name_; }
  SandboxConfig config() const;

  // Checks all that can be known before a worker runs, and takes the name. serve() calls it.
  void start();
  // A built-in interface's name, or a path to a shared library or a source file. An interface of
  // the same name and file is served anew, as it is now. All interfaces share one worker: another
  // one means another worker, after the calls that run.
  ServedInterface serve(const std::filesystem::path& interface, const ServeOptions& options = {});
  std::vector<ServedInterface> served() const;
  // Starts the worker, if none lives, and loads the interfaces' code. Returns when the worker has
  // said that all of it is there; its own error, with what it printed, is thrown.
  void load(const std::function<void(const std::string& what)>& on_progress = {});

  // A function that failed is a result with isError. What never reached a function is too.
  mcp::CallToolResult call(const std::string& tool, const mcp::Json& arguments,
                           const mcp::CallOptions& options = {});
  // What the worker says of itself, its models and calls; null: none runs.
  mcp::Json status() const;

  // The worker leaves after the calls that run; the next call starts another.
  void stop();
  // Cancels this object's calls, ends the worker, and removes all that the sandbox left: its name,
  // its artifacts, its runtime folder. Calls from then on throw.
  void terminate();
  // Leaves the sandbox, by its name, for attach() and for fronts.
  void detach();

 private:
  std::shared_ptr<FrontClient> front() const;
  void check() const;
  void save(const SandboxConfig& config) const;
  void rebuild(SandboxConfig config, std::vector<Manifest> manifests);
  void end_worker(const std::string& key, bool hard) const;

  const std::string name_;
  std::atomic<bool> owner_ = true;

  mutable std::mutex serving_;  // one start, serve, stop or terminate at a time
  mutable std::mutex mutex_;    // guards what follows
  enum class State { made, started, over } state_ = State::made;
  SandboxConfig config_;
  std::vector<Manifest> manifests_;  // with their own tools' names
  std::shared_ptr<FrontClient> front_;
  int record_owner_ = 0;  // the process whose end ends the sandbox
  std::string record_owner_began_;
};

}  // namespace gpumcp::sandbox
