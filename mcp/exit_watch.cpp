#include "mcp/exit_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>

namespace gpumcp::mcp {
namespace {

constexpr int kGraceMs = 900;
constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
enum : uint64_t { kSignal = 1, kLeave = 1ull << 20, kEnd = 1ull << 40 };

// Written by the signal handler, so a plain descriptor; -1 while no watch exists.
volatile int g_signal_fd = -1;

void on_signal(int) {
  const int saved = errno;
  const uint64_t one = kSignal;
  if (g_signal_fd >= 0) [[maybe_unused]] auto n = ::write(g_signal_fd, &one, sizeof one);
  errno = saved;
}

}  // namespace

ExitWatch::ExitWatch(std::function<void()> on_exit, ExitWatchOptions options) : wake_fd_(eventfd(0, EFD_CLOEXEC)) {
  if (options.parent && getppid() > 1) parent_fd_ = static_cast<int>(syscall(SYS_pidfd_open, getppid(), 0));
  g_signal_fd = wake_fd_;
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (int signal : kSignals) sigaction(signal, &action, nullptr);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, nullptr);
  thread_ = std::thread([this, f = std::move(on_exit)]() mutable { run(std::move(f)); });
}

ExitWatch::~ExitWatch() {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int signal : kSignals) sigaction(signal, &action, nullptr);
  g_signal_fd = -1;
  const uint64_t end = kEnd;
  [[maybe_unused]] auto n = ::write(wake_fd_, &end, sizeof end);
  thread_.join();
  ::close(wake_fd_);
  if (parent_fd_ >= 0) ::close(parent_fd_);
}

void ExitWatch::leave_soon() {
  const uint64_t leave = kLeave;
  [[maybe_unused]] auto n = ::write(wake_fd_, &leave, sizeof leave);
}

void ExitWatch::run(std::function<void()> on_exit) {
  bool leaving = false;
  while (true) {
    pollfd fds[2] = {{wake_fd_, POLLIN, 0}, {leaving ? -1 : parent_fd_, POLLIN, 0}};
    const int n = poll(fds, 2, leaving ? kGraceMs : -1);
    if (n == 0) _exit(0);
    if (n < 0) continue;
    uint64_t what = 0;
    if (fds[0].revents && ::read(wake_fd_, &what, sizeof what) != sizeof what) continue;
    if (what >= kEnd) return;
    if (what & (kLeave - 1)) {
      if (leaving) _exit(0);
    } else if (!fds[1].revents) {
      leaving = true;  // leave_soon()
      continue;
    }
    leaving = true;
    on_exit();
  }
}

}  // namespace gpumcp::mcp
