#include "cli/interrupt.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>

namespace gpumcp::cli {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};
constexpr uint64_t kEnd = 1ull << 40;
std::atomic<int> g_fd = -1, g_seen = 0;  // of the signal handler
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int) {
  const int saved = errno;
  if (g_seen.fetch_add(1) > 0) _exit(kInterrupted);
  const uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(g_fd, &one, sizeof one);
  errno = saved;
}

}  // namespace

Interrupt::Interrupt()
    : signal_fd_(eventfd(0, EFD_CLOEXEC)), told_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  g_fd = signal_fd_;
  g_seen = 0;
  struct sigaction action{};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (int signal : kSignals) sigaction(signal, &action, nullptr);
  thread_ = std::thread([this] {
    uint64_t what = 0;
    while (::read(signal_fd_, &what, sizeof what) != sizeof what) {
    }
    if (what >= kEnd) return;
    const uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(told_fd_, &one, sizeof one);
    source_.request_stop();
  });
}

bool Interrupt::raised() const { return g_seen > 0; }

Interrupt::~Interrupt() {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  for (int signal : kSignals) sigaction(signal, &action, nullptr);
  [[maybe_unused]] auto n = ::write(signal_fd_, &kEnd, sizeof kEnd);
  thread_.join();
  ::close(signal_fd_);
  ::close(told_fd_);
}

}  // namespace gpumcp::cli
