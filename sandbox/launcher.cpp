#include "sandbox/launcher.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <system_error>

#include "mcp/line_transport.h"
#include "mcp/spawn.h"
#include "sandbox/ledger.h"
#include "sandbox/manifest.h"
#include "sandbox/worker.h"

namespace gpumcp::sandbox {
using mcp::ErrorCode;
using mcp::fail;
namespace {

// A worker opens libraries only; models load at the first call. Torch from a cold disk may take
// long.
constexpr double kStartLimitS = 120;
constexpr int kReadyFd = 3, kConfigFd = 4;  // in the child

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

// The text in a file without a name.
int make_config_file(const std::string& text) {
  const int fd = memfd_create("gpumcp-config", MFD_CLOEXEC);
  for (size_t at = 0; fd >= 0 && at < text.size();) {
    const ssize_t n = ::write(fd, text.data() + at, text.size() - at);
    if (n <= 0) break;
    at += static_cast<size_t>(n);
  }
  lseek(fd, 0, SEEK_SET);
  return fd;
}

// OpenMP's threads wait by spinning for long unless told otherwise, and read that once, when the
// library is loaded: on a machine whose cores others use too that costs many times the work.
// Sleeping at once costs a wake-up a loop: one text took 5.5 ms so, 2.4 ms with a spin of some
// microseconds.
std::vector<std::string> worker_environment() {
  std::map<std::string, std::optional<std::string>> changes = {{kLedgerVariable, std::nullopt},
                                                               {kRunVariable, std::nullopt}};
  if (!std::getenv("OMP_WAIT_POLICY") && !std::getenv("GOMP_SPINCOUNT")) {
    changes["OMP_WAIT_POLICY"] = "PASSIVE";
    changes["GOMP_SPINCOUNT"] = "3000";
  }
  return mcp::environment_with(changes);
}

// Reads what the child says until it closes the pipe or says "ready\n". Notes go to `on_note`; the
// limit is for its silence.
std::string read_ready(int fd, double limit_s, const Launcher::OnNote& on_note) {
  using Clock = std::chrono::steady_clock;
  using std::chrono::milliseconds;
  const auto limit = milliseconds(static_cast<int64_t>(std::min(limit_s, 1e9) * 1000));
  std::string text;
  auto deadline = Clock::now() + limit;
  while (!text.ends_with("ready\n")) {
    const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
    pollfd fds{fd, POLLIN, 0};
    const int wait_ms = static_cast<int>(std::clamp<int64_t>(left.count(), 0, 3'600'000));
    if (wait_ms == 0) return fmt::format("it did not answer within {} s (start_timeout)", limit_s);
    if (poll(&fds, 1, wait_ms) == 0) continue;
    char buffer[4096];
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<size_t>(n));
    for (size_t end = 0; text.starts_with(kStartNote) && (end = text.find('\n')) != text.npos;
         text.erase(0, end + 1)) {
      deadline = Clock::now() + limit;
      if (on_note)
        on_note(std::string_view(text).substr(kStartNote.size(), end - kStartNote.size()));
    }
  }
  return text;
}

}  // namespace

WorkerProcess::~WorkerProcess() { ending(std::chrono::milliseconds(0)); }

std::string WorkerProcess::ending(std::chrono::milliseconds limit) {
  std::scoped_lock lock(mutex_);
  if (reaped_) return ending_;
  mcp::ended_within(pid_, limit);
  int status = 0;
  if (waitpid(pid_, &status, WNOHANG) != pid_) return {};
  reaped_ = true;
  return ending_ = mcp::describe_end(status);
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
  (void)(*client)->request("gpumcp/stop", "", {.timeout = std::chrono::seconds(3)});
  return mcp::ended_within(connection->pid, patience) ? Stopped::gone : Stopped::busy;
}

mcp::Result<Attached> Launcher::attach(mcp::ClientOptions client_options, const OnNote& on_note) {
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
  auto process = start(*folder, on_note);
  if (!process) return tl::unexpected(std::move(process.error()));
  auto connection = folder->read_connection();
  if (!connection)
    return fail(ErrorCode::io_error, "the worker started, but left no connection file");
  auto client = connect_worker(*connection, std::move(client_options));
  if (!client) return tl::unexpected(std::move(client.error()));
  return Attached{std::move(*client), std::move(*process), connection->pid};
}

mcp::Result<std::shared_ptr<WorkerProcess>> Launcher::start(const RuntimeFolder& folder,
                                                            const OnNote& on_note) try {
  for (const std::string& name : config_.secrets) {
    if (const char* value = std::getenv(name.c_str()); !value || !*value)
      return fail(
          ErrorCode::invalid_params,
          fmt::format("the worker needs the secret {}, and there is no such variable in the "
                      "environment of this process: start it from one that has it",
                      name));
  }
  mcp::Json config = config_.to_json();
  config["key"] = key_;
  const auto failed = [](const std::string& what) {
    return fail(ErrorCode::io_error, fmt::format("the worker cannot be started: {}", what));
  };
  // Not on the command line, which everybody on the machine can read.
  const Descriptor settings{make_config_file(mcp::to_text(config))};
  const Descriptor log{::open(folder.log().c_str(),
                              O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC,
                              0600)};
  if (settings.fd < 0 || log.fd < 0)
    return failed(fmt::format("{}: {}", folder.log().string(), std::strerror(errno)));
  mcp::Pipe ready;
  const auto pid = mcp::spawn({program_path().string(), "worker", "--config-fd",
                               std::to_string(kConfigFd), "--ready-fd", std::to_string(kReadyFd)},
                              {.descriptors = {{mcp::kDevNull, 0},
                                               {log.fd, 1},
                                               {log.fd, 2},
                                               {ready.write_end(), kReadyFd},
                                               {settings.fd, kConfigFd}},
                               .environment = worker_environment(),
                               .folder = "/",
                               // A host that kills its children's group must not take the shared
                               // worker.
                               .group = mcp::SpawnOptions::Group::own_session});
  if (!pid) return failed(pid.error().message);
  ready.close_write();
  auto process = std::make_shared<WorkerProcess>(*pid);
  // A provider's own limit is kept behind it, by the relay.
  const double limit_s =
      config_.provider == "local" ? config_.start_timeout_s.value_or(kStartLimitS) : kStartLimitS;
  const std::string answer = read_ready(ready.read_end(), limit_s, on_note);
  if (answer.ends_with("ready\n")) {
    spdlog::debug("started worker {}", *pid);
    return process;
  }
  kill(*pid, SIGKILL);  // if it still runs: nobody will ever reach it
  std::string why = answer;
  if (const std::string ending = process->ending(std::chrono::milliseconds(500)); why.empty())
    why = fmt::format("it {}\n{}", ending.empty() ? "closed its pipe" : ending, folder.log_tail());
  return fail(ErrorCode::io_error, fmt::format("the worker could not start: {}", why));
} catch (const std::system_error& e) {
  return fail(ErrorCode::io_error, fmt::format("the worker cannot be started: {}", e.what()));
}

}  // namespace gpumcp::sandbox
