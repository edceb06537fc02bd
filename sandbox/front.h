// Front: makes a Server's forwarded tools run in the sandbox's worker. Starts or attaches at the
// first call, on a thread of its own (the server's reading thread waits for no start), multiplexes
// all calls over one connection, and hands results on byte by byte.
//
//   idle ──call──▶ connecting (calls wait) ──▶ connected ──worker leaves──▶ idle (its unbegun calls
//   go again)
//                      └─ fails: the waiting calls answer why;   ──dies──▶ idle (its calls answer
//                      isError)
//                         after repeated failures, at once, until a pause is over
//
// Thread-safe. Destruction stops waiting for the worker; the worker lives on and idles out.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "mcp/server.h"
#include "sandbox/launcher.h"
#include "sandbox/manifest.h"
#include "sandbox/metrics.h"

namespace gpumcp::sandbox {

struct FrontOptions {
  SandboxConfig config;
  std::filesystem::path
      workspace;  // where results of output "file" go; told to the worker with each call
  std::filesystem::path ledger = {};  // what calls cost is written there (ledger.h); empty: nowhere
  // Before it looks for a worker: the last moment to change() what it is a front of.
  std::function<void()> before_connect = {};
};

class Front {
 public:
  explicit Front(FrontOptions options);
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  // Lists the manifests' tools on the server and forwards their calls. Throws std::invalid_argument
  // if two have a tool of the same name: settle_tool_names() first.
  void attach(mcp::Server& server, std::vector<Manifest> manifests);
  // From now on calls go to the worker of this configuration. The one of before is asked to leave;
  // calls that run there end there.
  void change(SandboxConfig config);
  // From now on calls answer that they were not run, and why.
  void refuse(const std::string& why);
  // Runs a request in the worker that did not come from a Server's client (artifact_get.h).
  void forward(std::shared_ptr<mcp::ForwardedRequest> request);

  // Calls are counted from then on; costs a look at each result.
  void count_calls() { counting_ = true; }
  const CallMetrics& metrics() const { return metrics_; }
  std::string queue_metrics();
  // What the worker that this front is connected to says of itself; null: there is none.
  mcp::Json worker_status();

 private:
  struct Forward;
  struct Link;

  void submit(std::shared_ptr<Forward> forward);
  std::string name_call(const std::shared_ptr<Forward>& forward);
  void forget_call(Forward& forward);
  void on_late(const std::string& call);
  void enter(Forward& forward, std::string_view result = {});  // into the ledger
  void send(const std::shared_ptr<Link>& link, std::shared_ptr<Forward> forward);
  void on_closed(const std::shared_ptr<Link>& link);
  void connect_loop();
  void connect(std::unique_lock<std::mutex>& lock);
  void fail_waiting(std::unique_lock<std::mutex>& lock, const std::string& why);
  void tell_waiting(std::string_view what);
  void retire_link();
  void tidy_after(const Link& link) const;
  void bury_links(std::unique_lock<std::mutex>& lock);
  std::string death_note(const std::shared_ptr<Link>& link, const std::string& tool) const;

  const FrontOptions options_;
  const std::string session_;  // random: what this front's callers keep is not another's

  std::atomic<bool> counting_ = false;
  CallMetrics metrics_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable wake_;
  std::shared_ptr<Launcher> launcher_;           // of what it is a front of now
  std::string refusal_;                          // why no call goes on; empty: they do
  std::shared_ptr<Link> link_;                   // the living connection
  std::vector<std::shared_ptr<Link>> retired_;   // connections that end, or ended
  std::list<std::shared_ptr<Forward>> waiting_;  // for a connection
  // Those with a limit, by the names that the worker has for them.
  std::map<std::string, std::weak_ptr<Forward>> limited_;
  uint64_t next_call_ = 0, notes_ = 0;
  bool stopping_ = false;
  // Who answered last that it leaves: until it is off the map, nobody is to be sent there again.
  int refused_pid_ = 0;
  std::chrono::steady_clock::time_point refused_at_{};
  int failures_ = 0;  // starts that failed, and workers that died, in a row
  std::chrono::steady_clock::time_point retry_at_{};
  std::string last_failure_;
  std::thread connector_;
};

}  // namespace gpumcp::sandbox
