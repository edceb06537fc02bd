#include "mcp/spawn.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

extern char** environ;

namespace gpumcp::mcp {
namespace {

// What posix_spawn is told, and copies of descriptors that live until it has been.
struct SpawnPlan {
  SpawnPlan() {
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
  }
  ~SpawnPlan() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    for (const int fd : copies) ::close(fd);
  }
  SpawnPlan(const SpawnPlan&) = delete;
  SpawnPlan& operator=(const SpawnPlan&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  std::vector<int> copies;
};

// False: no descriptors left.
bool plan_descriptors(SpawnPlan& plan, const SpawnOptions& options) {
  int top = 2;
  for (auto [ours, theirs] : options.descriptors) top = std::max(top, theirs);
  for (auto [ours, theirs] : options.descriptors) {
    if (ours == kDevNull) {
      posix_spawn_file_actions_addopen(&plan.actions, theirs, "/dev/null", O_RDWR, 0);
      continue;
    }
    // Above all that the child gets, so that no dup2 overwrites what another one is to copy.
    const int copy = fcntl(ours, F_DUPFD_CLOEXEC, top + 1);
    if (copy < 0) return false;
    plan.copies.push_back(copy);
    posix_spawn_file_actions_adddup2(&plan.actions, copy, theirs);
  }
  posix_spawn_file_actions_addclosefrom_np(&plan.actions, top + 1);
  if (!options.folder.empty())
    posix_spawn_file_actions_addchdir_np(&plan.actions, options.folder.c_str());
  return true;
}

void plan_signals(SpawnPlan& plan, const SpawnOptions& options) {
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  struct sigaction hangup{};
  if (sigaction(SIGHUP, nullptr, &hangup) == 0 && hangup.sa_handler == SIG_IGN)
    sigdelset(&all, SIGHUP);
  posix_spawnattr_setsigmask(&plan.attributes, &none);
  posix_spawnattr_setsigdefault(&plan.attributes, &all);
  int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
  if (options.group == SpawnOptions::Group::own_group) {
    posix_spawnattr_setpgroup(&plan.attributes, 0);
    flags |= POSIX_SPAWN_SETPGROUP;
  } else if (options.group == SpawnOptions::Group::own_session) {
    flags |= POSIX_SPAWN_SETSID;
  }
  posix_spawnattr_setflags(&plan.attributes, static_cast<short>(flags));
}

std::vector<char*> spawn_words(const std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (const std::string& text : texts) out.push_back(const_cast<char*>(text.c_str()));
  out.push_back(nullptr);
  return out;
}

}  // namespace

Pipe::Pipe() {
  if (pipe2(ends_, O_CLOEXEC) != 0) throw std::system_error(errno, std::system_category(), "pipe");
}
Pipe::~Pipe() {
  close(0);
  close(1);
}
void Pipe::close(int end) {
  if (ends_[end] >= 0) ::close(std::exchange(ends_[end], -1));
}

Result<pid_t> spawn(const std::vector<std::string>& command, const SpawnOptions& options) {
  auto failed = [&](int error) {
    return fail(ErrorCode::io_error,
                fmt::format("cannot start {}: {}", command[0], std::strerror(error)));
  };
  if (command.empty() || command[0].empty())
    return fail(ErrorCode::invalid_params, "no command to start a program with");
  SpawnPlan plan;
  if (!plan_descriptors(plan, options)) return failed(errno);
  plan_signals(plan, options);
  std::vector<char*> environment;
  if (options.environment) environment = spawn_words(*options.environment);
  pid_t pid = 0;
  const int error =
      posix_spawnp(&pid, command[0].c_str(), &plan.actions, &plan.attributes,
                   spawn_words(command).data(), options.environment ? environment.data() : environ);
  if (error) return failed(error);
  return pid;
}

std::vector<std::string> environment_with(
    const std::map<std::string, std::optional<std::string>>& changes) {
  std::vector<std::string> out;
  for (char** one = environ; one && *one; ++one) {
    const std::string_view entry = *one;
    if (!changes.contains(std::string(entry.substr(0, entry.find('='))))) out.emplace_back(entry);
  }
  for (const auto& [name, value] : changes) {
    if (value) out.push_back(name + "=" + *value);
  }
  return out;
}

bool ended_within(pid_t pid, std::chrono::milliseconds time) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return errno == ESRCH;
  const auto deadline = std::chrono::steady_clock::now() + time;
  pollfd one = {fd, POLLIN, 0};
  int ready = 0;
  do {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    ready = poll(&one, 1, static_cast<int>(std::max<int64_t>(0, left.count())));
  } while (ready < 0 && errno == EINTR);
  ::close(fd);
  return ready > 0;
}

int reap(pid_t pid) {
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

int exit_code(int status) {
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::string describe_end(int status) {
  if (!WIFSIGNALED(status)) return fmt::format("exited with code {}", WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  std::string out = fmt::format("was killed by signal {} ({})", signal, strsignal(signal));
  if (signal == SIGKILL) out += ", by somebody or because the machine ran out of memory";
  return out;
}

}  // namespace gpumcp::mcp
