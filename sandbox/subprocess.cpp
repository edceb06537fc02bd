#include "sandbox/subprocess.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

extern char** environ;

namespace gpumcp::sandbox {
namespace {

class Pipe {
 public:
  Pipe() : ok_(pipe2(fds_, O_CLOEXEC) == 0) {}
  ~Pipe() {
    close(0);
    close(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  bool ok() const { return ok_; }
  int end(int i) const { return fds_[i]; }
  void close(int i) {
    if (fds_[i] >= 0) ::close(std::exchange(fds_[i], -1));
  }

 private:
  int fds_[2] = {-1, -1};
  const bool ok_;
};

}  // namespace

mcp::Result<Finished> run_captured(const std::vector<std::string>& command,
                                   std::string_view input) {
  auto error = [&](int number) {
    return mcp::fail(mcp::ErrorCode::io_error,
                     fmt::format("cannot run {}: {}", command.front(), std::strerror(number)));
  };
  Pipe in, out, err;
  if (!in.ok() || !out.ok() || !err.ok()) return error(errno);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.end(0), 0);
  posix_spawn_file_actions_adddup2(&actions, out.end(1), 1);
  posix_spawn_file_actions_adddup2(&actions, err.end(1), 2);
  posix_spawn_file_actions_addclosefrom_np(&actions, 3);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int failed = posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (failed) return error(failed);
  in.close(0);
  out.close(1);
  err.close(1);
  if (input.empty()) in.close(1);
  if (in.end(1) >= 0) fcntl(in.end(1), F_SETFL, O_NONBLOCK);

  Finished done;
  while (out.end(0) >= 0 || err.end(0) >= 0 || in.end(1) >= 0) {
    pollfd fds[3] = {{out.end(0), POLLIN, 0}, {err.end(0), POLLIN, 0}, {in.end(1), POLLOUT, 0}};
    if (poll(fds, 3, -1) < 0 && errno != EINTR) break;
    for (int i = 0; i < 2; ++i) {
      if (fds[i].fd < 0 || !fds[i].revents) continue;
      char buffer[16384];
      const ssize_t n = ::read(fds[i].fd, buffer, sizeof buffer);
      if (n > 0)
        (i ? done.err : done.out).append(buffer, static_cast<size_t>(n));
      else if (n == 0 || errno != EINTR)
        (i ? err : out).close(0);
    }
    if (fds[2].fd >= 0 && fds[2].revents) {
      // A program that reads nothing may be gone: its end says so, not SIGPIPE.
      struct sigaction ignore{}, before{};
      ignore.sa_handler = SIG_IGN;
      sigaction(SIGPIPE, &ignore, &before);
      const ssize_t n = ::write(fds[2].fd, input.data(), input.size());
      sigaction(SIGPIPE, &before, nullptr);
      if (n > 0) input.remove_prefix(static_cast<size_t>(n));
      if (input.empty() || (n < 0 && errno != EINTR && errno != EAGAIN)) in.close(1);
    }
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  done.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return done;
}

}  // namespace gpumcp::sandbox
