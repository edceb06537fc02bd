// ExitWatch: the reasons for which a stdio server must go, other than the end of its input: SIGINT,
// SIGTERM, SIGHUP, and the death of the parent (an orphaned server would hold its GPU for nobody).
// One a process. The callback runs once, on a thread of its own; if the process is still there
// `grace` later, it exits with code 0, so that nothing that hangs, the callback included, can keep
// it. A second signal exits at once.
#pragma once

#include <chrono>
#include <functional>
#include <thread>

namespace gpumcp::mcp {

struct ExitWatchOptions {
  bool parent =
      false;  // also watch the parent process, by a pidfd (PR_SET_PDEATHSIG watches a thread)
  // More than what the callback may take: ServerOptions::drain, where it is Server::shut_down().
  std::chrono::milliseconds grace = std::chrono::milliseconds(900);
};

class ExitWatch {
 public:
  explicit ExitWatch(std::function<void()> on_exit, ExitWatchOptions options = {});
  ~ExitWatch();
  ExitWatch(const ExitWatch&) = delete;
  ExitWatch& operator=(const ExitWatch&) = delete;

  // All is done but what ignores its cancellation: the process has 0.9 s left, if not less.
  void leave_soon();

 private:
  void run(std::function<void()> on_exit);

  const std::chrono::milliseconds grace_;
  int wake_fd_ = -1, parent_fd_ = -1;
  std::thread thread_;
};

}  // namespace gpumcp::mcp
