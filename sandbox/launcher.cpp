#include "sandbox/launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "mcp/line_transport.h"
#include "sandbox/ledger.h"
#include "sandbox/manifest.h"

extern char** environ;

namespace gpumcp::sandbox {
using mcp::ErrorCode;
using mcp::fail;
namespace {

// A worker opens libraries only; models load at the first call. Torch from a cold disk may take
// long.
constexpr double kStartLimitS = 120;
constexpr int kReadyFd = 3, kConfigFd = 4;  // in the child

// The text in a file without a name, above the descriptors that the child gets.
int make_config_file(const std::string& text) {
  const int file = memfd_create("gpumcp-config", MFD_CLOEXEC);
  const int fd = fcntl(file, F_DUPFD_CLOEXEC, 16);
  ::close(file);
  for (size_t at = 0; fd >= 0 && at < text.size();) {
    const ssize_t n = ::write(fd, text.data() + at, text.size() - at);
    if (n <= 0) break;
    at += static_cast<size_t>(n);
  }
  lseek(fd, 0, SEEK_SET);
  return fd;
}

// Reads what the child says until it closes the pipe or says "ready\n".
std::string read_ready(int fd, double limit_s) {
  std::string text;
  const auto deadline =
      std::chrono::steady_clock::now() +
      std::chrono::milliseconds(static_cast<int64_t>(std::min(limit_s, 1e9) * 1000));
  while (!text.ends_with("ready\n")) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    pollfd fds{fd, POLLIN, 0};
    const int wait_ms = static_cast<int>(std::clamp<int64_t>(left.count(), 0, 3'600'000));
    if (wait_ms == 0) return fmt::format("it did not answer within {} s (start_timeout)", limit_s);
    if (poll(&fds, 1, wait_ms) == 0) continue;
    char buffer[4096];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  return text;
}

}  // namespace

WorkerProcess::~WorkerProcess() { ending(std::chrono::milliseconds(0)); }

std::string WorkerProcess::ending(std::chrono::milliseconds limit) {
  std::scoped_lock lock(mutex_);
  if (reaped_) return ending_;
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  if (fd >= 0) {
    pollfd fds{fd, POLLIN, 0};
    poll(&fds, 1, static_cast<int>(limit.count()));
    ::close(fd);
  }
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return {};
  reaped_ = true;
  if (WIFSIGNALED(status)) {
    const int signal = WTERMSIG(status);
    ending_ = fmt::format("was killed by signal {} ({})", signal, strsignal(signal));
    if (signal == SIGKILL) ending_ += ", by somebody or because the machine ran out of memory";
  } else {
    ending_ = fmt::format("exited with code {}", WEXITSTATUS(status));
  }
  return ending_;
}

mcp::Result<std::unique_ptr<mcp::Client>> connect_worker(const ConnectionFile& connection,
                                                         mcp::ClientOptions options) {
  const std::string prefix = "unix:";
  if (!connection.address.starts_with(prefix))
    return fail(
        ErrorCode::io_error,
        fmt::format("the worker's address \"{}\" is of an unknown kind", connection.address));
  auto fd = mcp::connect_unix(connection.address.substr(prefix.size()));
  if (!fd) return tl::unexpected(std::move(fd.error()));
  options.era = mcp::Era::modern;
  options.info = {"gpumcp front", GPUMCP_VERSION};
  return mcp::Client::connect(mcp::make_line_transport(*fd, *fd, {.max_message_bytes = 256u << 20}),
                              std::move(options));
}

Stopped stop_worker(const RuntimeFolder& folder, std::chrono::milliseconds patience, int* pid) {
  const auto connection = folder.read_connection();
  if (!connection) return Stopped::nobody;
  auto client = connect_worker(*connection, {.connect_timeout = std::chrono::seconds(3)});
  if (!client) return Stopped::nobody;
  if (pid) *pid = connection->pid;
  const int process = static_cast<int>(syscall(SYS_pidfd_open, connection->pid, 0));
  (void)(*client)->request("gpumcp/stop", "", {.timeout = std::chrono::seconds(3)});
  pollfd fds{process, POLLIN, 0};
  const bool gone = process < 0 || poll(&fds, 1, static_cast<int>(patience.count())) == 1;
  if (process >= 0) ::close(process);
  return gone ? Stopped::gone : Stopped::busy;
}

mcp::Result<Attached> Launcher::attach(mcp::ClientOptions client_options) {
  auto folder = RuntimeFolder::open(key_);
  if (!folder) return tl::unexpected(std::move(folder.error()));
  // Without the lock first: a living worker is the common case.
  if (auto connection = folder->read_connection()) {
    if (auto client = connect_worker(*connection, client_options))
      return Attached{std::move(*client), nullptr, connection->pid};
  }
  auto lock = folder->lock();
  if (!lock) return tl::unexpected(std::move(lock.error()));
  if (auto connection = folder->read_connection()) {
    auto client = connect_worker(*connection, client_options);
    if (client) return Attached{std::move(*client), nullptr, connection->pid};
    // Slow is not dead: a second worker beside it would hold the models twice.
    if (client.error().code == ErrorCode::timeout && kill(connection->pid, 0) == 0)
      return fail(ErrorCode::timeout,
                  fmt::format("the worker (pid {}) does not answer: {}; `kill {}` ends it",
                              connection->pid, client.error().message, connection->pid));
    folder->remove(false);  // its worker died
  }
  auto process = start(*folder);
  if (!process) return tl::unexpected(std::move(process.error()));
  auto connection = folder->read_connection();
  if (!connection)
    return fail(ErrorCode::io_error, "the worker started, but left no connection file");
  auto client = connect_worker(*connection, std::move(client_options));
  if (!client) return tl::unexpected(std::move(client.error()));
  return Attached{std::move(*client), std::move(*process), connection->pid};
}

mcp::Result<std::shared_ptr<WorkerProcess>> Launcher::start(const RuntimeFolder& folder) {
  for (const std::string& name : config_.secrets) {
    if (const char* value = std::getenv(name.c_str()); !value || !*value)
      return fail(
          ErrorCode::invalid_params,
          fmt::format("the worker needs the secret {}, and there is no such variable in the "
                      "environment of this process: start it from one that has it",
                      name));
  }
  const std::string program = program_path().string();
  mcp::Json config = config_.to_json();
  config["key"] = key_;
  const std::string log = folder.log().string();
  const std::string ready = std::to_string(kReadyFd), from = std::to_string(kConfigFd);
  const char* argv[] = {program.c_str(), "worker",      "--config-fd", from.c_str(),
                        "--ready-fd",    ready.c_str(), nullptr};
  // Not on the command line, which everybody on the machine can read.
  const int config_fd = make_config_file(mcp::to_text(config));
  int pipe_fds[2];
  if (config_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) != 0)
    return fail(ErrorCode::io_error, fmt::format("pipe: {}", std::strerror(errno)));

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, pipe_fds[1], kReadyFd);
  posix_spawn_file_actions_adddup2(&actions, config_fd, kConfigFd);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, 1, log.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW, 0600);
  posix_spawn_file_actions_adddup2(&actions, 1, 2);
  posix_spawn_file_actions_addclosefrom_np(&actions,
                                           kConfigFd + 1);  // nothing of the host's leaks in
  posix_spawn_file_actions_addchdir_np(&actions, "/");
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // A session of its own: a host that kills its children's group must not take the shared worker.
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  // OpenMP's threads wait by spinning for long unless told otherwise, and read that once, when the
  // library is loaded: on a machine whose cores others use too that costs many times the work.
  // Sleeping at once costs a wake-up a loop: one text took 5.5 ms so, 2.4 ms with a spin of some
  // microseconds.
  std::vector<char*> environment;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view line = *variable, name = line.substr(0, line.find('='));
    if (name != kLedgerVariable && name != kRunVariable) environment.push_back(*variable);
  }
  char passive[] = "OMP_WAIT_POLICY=PASSIVE", spin[] = "GOMP_SPINCOUNT=3000";
  if (!std::getenv("OMP_WAIT_POLICY") && !std::getenv("GOMP_SPINCOUNT")) {
    environment.push_back(passive);
    environment.push_back(spin);
  }
  environment.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &actions, &attributes,
                                const_cast<char**>(argv), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  ::close(pipe_fds[1]);
  ::close(config_fd);
  if (error) {
    ::close(pipe_fds[0]);
    return fail(ErrorCode::io_error,
                fmt::format("the worker cannot be started: {}: {}", program, std::strerror(error)));
  }
  auto process = std::make_shared<WorkerProcess>(pid);
  // A provider's own limit is kept behind it, by the relay.
  const double limit_s =
      config_.provider == "local" ? config_.start_timeout_s.value_or(kStartLimitS) : kStartLimitS;
  const std::string answer = read_ready(pipe_fds[0], limit_s);
  ::close(pipe_fds[0]);
  if (answer.ends_with("ready\n")) {
    spdlog::debug("started worker {}", pid);
    return process;
  }
  kill(pid, SIGKILL);  // if it still runs: nobody will ever reach it
  std::string why = answer;
  if (const std::string ending = process->ending(std::chrono::milliseconds(500)); why.empty())
    why = fmt::format("it {}\n{}", ending.empty() ? "closed its pipe" : ending, folder.log_tail());
  return fail(ErrorCode::io_error, fmt::format("the worker could not start: {}", why));
}

}  // namespace gpumcp::sandbox
