#include "sandbox/worker.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <csignal>
#include <cstring>

#include "mcp/line_transport.h"
#include "sandbox/callback.h"
#include "sandbox/carried.h"
#include "sandbox/host_library.h"
#include "sandbox/isolation.h"
#include "sandbox/manifest.h"
#include "sandbox/system_packages.h"
#include "sandbox/worker_life.h"

namespace gpumcp::sandbox {
namespace {

// Fatal signals leave a line in the log, so that a front can say what happened; then the default
// action.
void on_fatal_signal(int signal) {
  const char* name = signal == SIGSEGV  ? "SIGSEGV"
                     : signal == SIGBUS ? "SIGBUS"
                     : signal == SIGFPE ? "SIGFPE"
                     : signal == SIGILL ? "SIGILL"
                                        : "SIGABRT";
  const char head[] = "fatal: the worker got ";
  [[maybe_unused]] auto a = ::write(2, head, sizeof head - 1);
  [[maybe_unused]] auto b = ::write(2, name, std::strlen(name));
  [[maybe_unused]] auto c = ::write(2, "\n", 1);
  std::signal(signal, SIG_DFL);
  ::raise(signal);
}

// Artifacts of sandboxes that nobody started again (another build, other options): no file lives
// longer than a day, and an empty folder goes.
void sweep_artifacts(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const auto old = fs::file_time_type::clock::now() - std::chrono::hours(24);
  for (auto& sandbox : fs::directory_iterator(root, ignored)) {
    if (!sandbox.is_directory(ignored) || sandbox.is_symlink(ignored)) continue;
    for (auto& file : fs::directory_iterator(sandbox.path(), ignored)) {
      if (file.is_regular_file(ignored) && file.last_write_time(ignored) < old)
        fs::remove(file.path(), ignored);
    }
    fs::remove(sandbox.path(), ignored);  // fails while something is in it
  }
}

}  // namespace

mcp::Tool load_tool() {
  return {.name = "gpumcp_load",
          .description = "Loads what the first call would load, and says what is wrong with it.",
          .inputSchema = {{"type", "object"}}};
}

namespace {

// Folders of workers that ended without tidying up.
void sweep_scratch(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  for (auto& entry : fs::directory_iterator(root, ignored)) {
    const std::string name = entry.path().filename().string();
    const int pid = std::atoi(name.substr(name.rfind('-') + 1).c_str());
    if (pid > 0 && kill(pid, 0) != 0 && errno == ESRCH) fs::remove_all(entry.path(), ignored);
  }
}

// Isolates this process if its interfaces are its own code, before it has a thread. Returns how
// interfaces are to be isolated, and the folder of theirs. Throws std::runtime_error.
std::pair<std::string, std::filesystem::path> isolate(const SandboxConfig& config,
                                                      const RuntimeFolder* folder) {
  namespace fs = std::filesystem;
  if (config.isolate.empty() || config.provider != "local") return {};
  bool native = false;
  bool python = false;
  for (auto& interface : config.interfaces) (find_host_library(interface) ? python : native) = true;
  const std::string how = choose_isolation(config.isolate, native);
  if (native && python && !config.python_packages.empty())
    throw std::runtime_error(
        "isolate: python_packages are fetched by the worker, which has no network when native "
        "interfaces are isolated: serve the two in sandboxes of their own");
  const fs::path root = cache_folder() / "isolated";
  sweep_scratch(root);
  const fs::path scratch = root / fmt::format("{}-{}", config.key(), getpid());
  fs::create_directories(scratch);
  fs::permissions(scratch, fs::perms::owner_all);
  if (native) {
    const fs::path artifacts = cache_folder() / "artifacts" / config.key();
    const fs::path workspace = cache_folder() / "workspace";
    for (auto& own : {artifacts, workspace}) fs::create_directories(own);
    std::vector<fs::path> write = {artifacts, workspace}, entries = {root};
    if (folder) {
      write.push_back(folder->path());
      entries.push_back(folder->path().parent_path());
    }
    isolate_worker(config, scratch, write, entries);
  }
  return {how, scratch};
}

void report(int ready_fd, std::string_view text) {
  if (ready_fd < 0) return;
  [[maybe_unused]] auto n = ::write(ready_fd, text.data(), text.size());
  ::close(ready_fd);
}

// The system's packages, before anything is isolated. Where a relay runs the calls, its worker
// elsewhere looks after them.
mcp::Result<void> prepare_system(const SandboxConfig& config, int progress_fd) {
  if (config.provider != "local") return {};
  return ensure_system_packages(config.system_packages, geteuid() == 0, [&](std::string_view what) {
    spdlog::info("{}", what);
    if (progress_fd <= 2) return;
    const std::string line = fmt::format("{}{}\n", kStartNote, what);
    [[maybe_unused]] auto n = ::write(progress_fd, line.data(), line.size());
  });
}

// The first line of stdin, byte by byte, so that the protocol finds the rest.
std::string read_first_line() {
  std::string line;
  char c = 0;
  ssize_t n = 0;
  while ((n = ::read(0, &c, 1)) == 1 || (n < 0 && errno == EINTR)) {
    if (n < 0) continue;
    if (c == '\n') break;
    line += c;
  }
  return line;
}

void say_hello(mcp::Json more) {
  char host[256] = "";
  gethostname(host, sizeof host - 1);
  mcp::Json hello = {
      {"gpumcp_worker", 1}, {"version", GPUMCP_VERSION}, {"pid", getpid()}, {"host", host}};
  hello.update(more);
  const std::string line = mcp::to_text(hello) + "\n";
  [[maybe_unused]] auto n = ::write(1, line.data(), line.size());
}

// For a relay elsewhere: it is told everything on stdin, says hello or what is wrong, and serves.
int run_carried_worker() {
  auto fail = [](const std::string& error) {
    spdlog::error("{}", error);
    say_hello({{"error", error}});
    return 1;
  };
  try {
    const std::string line = read_first_line();
    // Before anything is isolated, and may have no network.
    int called_back = -1;
    if (auto json = mcp::parse_json(line);
        json && json->is_object() && json->contains("callback")) {
      auto connected = connect_back((*json)["callback"]);
      if (connected)
        called_back = *connected;
      else
        spdlog::warn("no connection back ({}); the pipe is used", connected.error().message);
    }
    WorkerOptions options{.config = unpack_config(line), .config_stdin = true, .stdio = true};
    // What is printed comes to the relay, which tells it to who waits.
    if (auto ok = prepare_system(options.config, 2); !ok) return fail(ok.error().message);
    auto [how, scratch] = isolate(options.config, nullptr);
    Worker* worker = new Worker(options);
    worker->set_isolation(how, scratch);
    if (auto ok = worker->load(); !ok) return fail(ok.error().message);
    say_hello({{"called_back", called_back >= 0}});
    const int code =
        called_back >= 0 ? worker->serve_connection(called_back) : worker->serve_stdio();
    fflush(nullptr);
    _exit(code);
  } catch (const std::exception& e) {
    return fail(e.what());
  }
}

}  // namespace

int run_worker(const WorkerOptions& options) {
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT})
    std::signal(signal, on_fatal_signal);
  auto fail = [&](const mcp::Error& error) {
    spdlog::error("{}", error.message);
    report(options.ready_fd, error.message);
    return 1;
  };
  if (options.config_stdin) return run_carried_worker();
  std::optional<RuntimeFolder> folder;
  if (!options.stdio) {
    auto opened = RuntimeFolder::open(options.config.key());
    if (!opened) return fail(opened.error());
    folder = std::move(*opened);
  }
  std::pair<std::string, std::filesystem::path> isolation;
  if (auto ok = prepare_system(options.config, options.ready_fd); !ok) return fail(ok.error());
  try {
    isolation = isolate(options.config, folder ? &*folder : nullptr);
  } catch (const std::exception& e) {
    return fail({mcp::ErrorCode::io_error, e.what()});
  }
  // On the heap and never destroyed: a call that hangs would keep its destructor.
  Worker* worker = new Worker(options);
  worker->set_isolation(isolation.first, isolation.second);
  if (options.stdio) {
    if (auto ok = worker->load(); !ok) return fail(ok.error());
    return worker->serve_stdio();
  }
  if (auto ok = worker->load(); !ok) return fail(ok.error());
  auto listener = mcp::listen_unix(folder->socket());
  if (!listener) return fail(listener.error());
  ConnectionFile connection{
      .address = "unix:" + folder->socket().string(), .pid = getpid(), .version = GPUMCP_VERSION};
  connection.started_at =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
  if (auto ok = folder->write_connection(connection); !ok) return fail(ok.error());
  report(options.ready_fd, "ready\n");
  sweep_artifacts(cache_folder() / "artifacts");
  spdlog::info("worker {} serves {}", getpid(), connection.address);
  const int code = worker->serve_socket(*folder, *listener);
  fflush(nullptr);
  _exit(code);  // static destructors of a GPU runtime may hang or crash; everything worth keeping
                // is kept
}

}  // namespace gpumcp::sandbox
