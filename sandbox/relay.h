// Relay: what stands in for the worker where a provider runs it elsewhere. It lives in a worker
// process of this machine, so that fronts find, share, idle out and stop it like any other; calls
// that it gets wait until the provider's command has yielded a worker, and go on to that over one
// connection, byte by byte.
//
//   first call ─▶ starting (calls wait, and hear how it goes) ─hello─▶ connected ─▶ stop(): the end
//                     └─ the command fails: calls answer why ─┐      └─ it is lost: calls answer so
//                                                             └──────────┴─▶ over: `on_over` runs
//
// Thread-safe. stop() ends what was started: by the end of its input, then by the provider's own
// means (scancel), then by a signal.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "mcp/client.h"
#include "mcp/server.h"
#include "sandbox/manifest.h"
#include "sandbox/provider.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

class Relay {
 public:
  // `on_over` runs once, on a thread of the relay's, if the other worker is lost, cannot be had, or
  // will leave: then the calls that run still end.
  Relay(SandboxConfig config, Provider provider, std::vector<Manifest> manifests,
        std::function<void()> on_over);
  ~Relay();
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  // Lists the tools; calls come here from then on.
  void attach(mcp::Server& server);
  mcp::Json status();
  void stop();

 private:
  struct Forward;
  class Started;

  void submit(std::shared_ptr<mcp::ForwardedRequest> request);
  void send(const std::shared_ptr<mcp::Client>& client,
            std::shared_ptr<mcp::ForwardedRequest> request);
  void run();
  // "" once the worker was reached and has ended, else why it could not be reached.
  std::string start_once(bool& missing);
  void tell_waiting();
  void over(const std::string& why);
  void tell_over();

  const SandboxConfig config_;
  const Provider provider_;
  const std::vector<Manifest> manifests_;
  const std::function<void()> on_over_;
  const std::string job_;  // the name of what is started

  std::mutex mutex_;
  std::condition_variable changed_;
  // Guarded by mutex_:
  std::list<std::shared_ptr<mcp::ForwardedRequest>> waiting_;
  std::shared_ptr<mcp::Client> client_;
  std::shared_ptr<Started> started_;
  bool wanted_ = false, stopping_ = false, lost_ = false;
  std::string note_, over_;  // over_: why nothing goes on from here
  mcp::Json hello_ = nullptr;
  std::chrono::steady_clock::time_point since_{};
  // How long a worker elsewhere was there: what its GPU is paid for.
  std::chrono::steady_clock::duration held_{};
  std::optional<std::chrono::steady_clock::time_point> held_since_;

  mcp::Server* server_ = nullptr;  // whose peers the calls come from; set before there are any
  std::atomic<bool> told_over_ = false;
  std::thread thread_;
};

}  // namespace gpumcp::sandbox
