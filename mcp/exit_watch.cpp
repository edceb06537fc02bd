#include "mcp/exit_watch.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <utility>

namespace gpumcp::mcp {
namespace {

constexpr auto kSoon = std::chrono::milliseconds(900);
constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
enum : uint64_t { kSignal = 1, kLeave = 1ull << 20, kEnd = 1ull << 40 };

// Read by the signal handler, on any thread; -1 while no watch exists.
std::atomic<int> g_signal_fd = -1;
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int) {
  const int saved = errno;
  const uint64_t one = kSignal;
  if (const int fd = g_signal_fd; fd >= 0) [[maybe_unused]]
    auto n = ::write(fd, &one, sizeof one);
  errno = saved;
}

}  // namespace

ExitWatch::ExitWatch(std::function<void()> on_exit, ExitWatchOptions options)
    : grace_(options.grace), wake_fd_(eventfd(0, EFD_CLOEXEC)) {
  if (options.parent && getppid() > 1)
    parent_fd_ = static_cast<int>(syscall(SYS_pidfd_open, getppid(), 0));
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
  using Clock = std::chrono::steady_clock;
  bool leaving = false, told = false;
  Clock::time_point deadline;  // once leaving
  auto leave = [&](std::chrono::milliseconds within) {
    const auto at = Clock::now() + within;
    deadline = std::exchange(leaving, true) ? std::min(deadline, at) : at;
  };
  std::jthread callback;  // on_exit on a thread of its own, so that it cannot hold the deadline up
  while (true) {
    pollfd fds[2] = {{wake_fd_, POLLIN, 0}, {told ? -1 : parent_fd_, POLLIN, 0}};
    int wait = -1;
    if (leaving) {
      const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
      if (left.count() <= 0) _exit(0);
      wait = static_cast<int>(left.count());
    }
    if (poll(fds, 2, wait) <= 0) continue;
    uint64_t what = 0;
    if (fds[0].revents && ::read(wake_fd_, &what, sizeof what) != sizeof what) continue;
    if (what >= kEnd) return;
    const bool signal = (what & (kLeave - 1)) != 0;
    if (what >= kLeave) leave(kSoon);
    if (signal || fds[1].revents) leave(grace_);
    if (signal && told) _exit(0);
    if ((!signal && !fds[1].revents) || std::exchange(told, true)) continue;  // only leave_soon()
    callback = std::jthread(on_exit);
  }
}

}  // namespace gpumcp::mcp
