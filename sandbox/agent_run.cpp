#include "sandbox/agent_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <set>
#include <thread>

#include "mcp/client.h"
#include "mcp/spawn.h"
#include "sandbox/files.h"
#include "sandbox/launcher.h"
#include "sandbox/manifest.h"

extern char** environ;

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::ErrorCode;
using mcp::fail;
using std::chrono::milliseconds;
namespace {

using Clock = std::chrono::steady_clock;
constexpr size_t kMaxLine = 64u << 20, kErrorTail = 4000;
constexpr auto kSignalPause = std::chrono::seconds(2);  // from one signal to the next

// A folder of this run's own, gone with it. Not in /tmp: gemini reads no settings from where others
// may write.
class RunFolder {
 public:
  RunFolder() {
    std::error_code ignored;
    const fs::path base = cache_folder() / "runs";
    fs::create_directories(base, ignored);
    std::string name = (base / "run-XXXXXX").string();
    if (mkdtemp(name.data())) path_ = name;
  }
  ~RunFolder() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

class Program {
 public:
  ~Program() {
    for (int fd : {in_, out_, err_, pidfd_}) {
      if (fd >= 0) ::close(fd);
    }
  }

  mcp::Result<void> start(const std::vector<std::string>& command,
                          std::vector<std::string> environment, const fs::path& folder) {
    mcp::Pipe in, out, err;
    const auto pid = mcp::spawn(
        command, {.descriptors = {{in.read_end(), 0}, {out.write_end(), 1}, {err.write_end(), 2}},
                  .environment = std::move(environment),
                  .folder = folder,
                  .group = mcp::SpawnOptions::Group::own_group});
    if (!pid) return tl::unexpected(pid.error());
    pid_ = *pid;
    in_ = in.take_write();
    out_ = out.take_read();
    err_ = err.take_read();
    for (int fd : {in_, out_, err_}) fcntl(fd, F_SETFL, O_NONBLOCK);
    pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
    return {};
  }

  // Until it has ended and what it printed is read. `on_line` gets its stdout.
  void follow(std::string_view input, const std::function<void(std::string_view)>& on_line,
              std::stop_token stop) {
    const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    {
      std::stop_callback on_stop(stop, [wake] {
        const uint64_t one = 1;
        [[maybe_unused]] auto n = ::write(wake, &one, sizeof one);
      });
      std::string line;
      int signals = 0;
      Clock::time_point next_signal = Clock::time_point::max();
      std::optional<Clock::time_point> ended;
      while (out_ >= 0 || err_ >= 0 || !ended) {
        const auto now = Clock::now();
        if (stop.stop_requested() && !ended && next_signal == Clock::time_point::max())
          next_signal = now;
        if (!ended && now >= next_signal) {
          interrupted = true;
          const int signal = signals == 0 ? SIGINT : signals == 1 ? SIGTERM : SIGKILL;
          ++signals;
          kill(-pid_, signal);
          next_signal = now + kSignalPause;
        }
        // Something that it left behind may hold its pipes: not for long.
        if (ended && now - *ended > std::chrono::seconds(1)) break;
        milliseconds wait(ended ? 100 : 1000);
        if (next_signal != Clock::time_point::max())
          wait = std::clamp(std::chrono::duration_cast<milliseconds>(next_signal - now),
                            milliseconds(1), wait);
        pollfd fds[] = {{out_, POLLIN, 0},
                        {err_, POLLIN, 0},
                        {input.empty() ? -1 : in_, POLLOUT, 0},
                        {ended ? -1 : pidfd_, POLLIN, 0},
                        {signals ? -1 : wake, POLLIN, 0}};
        poll(fds, std::size(fds), static_cast<int>(wait.count()));
        if (input.empty() && in_ >= 0) {
          ::close(in_);
          in_ = -1;
        } else if (fds[2].revents) {
          const ssize_t n = ::write(in_, input.data(), input.size());
          if (n > 0) input.remove_prefix(static_cast<size_t>(n));
          if (n < 0 && errno != EAGAIN && errno != EINTR) input = {};
        }
        read_lines(line, on_line);
        read_errors();
        if (!ended && waitpid(pid_, &status_, WNOHANG) == pid_) ended = Clock::now();
      }
      if (!line.empty()) on_line(line);
    }
    ::close(wake);
    kill(-pid_, SIGKILL);  // what is left of its group
  }

  int exit_code() const { return mcp::exit_code(status_); }
  std::string errors;
  bool interrupted = false;

 private:
  static bool over(ssize_t n) { return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR); }
  void read_lines(std::string& line, const std::function<void(std::string_view)>& on_line) {
    char buffer[65536];
    while (out_ >= 0) {
      const ssize_t n = ::read(out_, buffer, sizeof buffer);
      if (n <= 0) {
        if (over(n)) {
          ::close(out_);
          out_ = -1;
        }
        return;
      }
      std::string_view got(buffer, static_cast<size_t>(n));
      for (size_t end = got.find('\n'); end != got.npos; end = got.find('\n')) {
        line += got.substr(0, end);
        got.remove_prefix(end + 1);
        if (!line.empty()) on_line(line);
        line.clear();
      }
      if (line.size() + got.size() < kMaxLine) line += got;
    }
  }
  void read_errors() {
    char buffer[4096];
    while (err_ >= 0) {
      const ssize_t n = ::read(err_, buffer, sizeof buffer);
      if (n <= 0) {
        if (over(n)) {
          ::close(err_);
          err_ = -1;
        }
        return;
      }
      errors.append(buffer, static_cast<size_t>(n));
      if (errors.size() > 2 * kErrorTail) errors.erase(0, errors.size() - kErrorTail);
    }
  }

  pid_t pid_ = 0;
  int in_ = -1, out_ = -1, err_ = -1, pidfd_ = -1, status_ = 0;
};

// Processes of this run that left its group: by the variable that all of them inherit.
std::vector<pid_t> left_behind(const std::string& mark) {
  std::vector<pid_t> out;
  std::error_code ignored;
  const std::string wanted = std::string(kRunVariable) + "=" + mark;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != name.npos) continue;
    const std::string environment = read_file(entry.path() / "environ");
    for (size_t at = environment.find(wanted); at != environment.npos;
         at = environment.find(wanted, at + 1)) {
      const bool whole =
          (at == 0 || environment[at - 1] == '\0') &&
          (at + wanted.size() == environment.size() || environment[at + wanted.size()] == '\0');
      if (!whole) continue;
      out.push_back(static_cast<pid_t>(std::stol(name)));
      break;
    }
  }
  std::erase(out, getpid());
  return out;
}

void end_left_behind(const std::string& mark) {
  for (int signal : {0, SIGTERM, SIGKILL}) {
    // Servers see the end of their stdin; they get a moment before they are told.
    const auto until = Clock::now() + (signal == SIGKILL ? milliseconds(500) : milliseconds(1500));
    std::vector<pid_t> pids = left_behind(mark);
    if (signal) {
      for (pid_t pid : pids) kill(pid, signal);
    }
    while (!pids.empty() && Clock::now() < until) {
      std::this_thread::sleep_for(milliseconds(20));
      pids = left_behind(mark);
    }
    if (pids.empty()) return;
  }
}

// Workers that came with the run and that nobody else is connected to leave, so that the bill ends
// here. Of others the ledger gets what they have held so far.
void settle_workers(const fs::path& ledger, double began, bool keep) {
  const Ledger now = Ledger::read(ledger);
  std::set<std::string> open;
  for (const LedgerWorker& worker : now.workers()) {
    if (!worker.left) open.insert(worker.id);
  }
  if (open.empty()) return;
  for (const RuntimeFolder& folder : RuntimeFolder::list()) {
    const auto connection = folder.read_connection();
    if (!connection) continue;
    const auto id = std::find_if(open.begin(), open.end(), [&](const std::string& one) {
      return one.starts_with(fmt::format("{}-", connection->pid));
    });
    if (id == open.end()) continue;
    auto client = connect_worker(*connection, {.connect_timeout = std::chrono::seconds(3)});
    if (!client) continue;
    mcp::Json status;
    bool alone = false, answers = true;
    // The connections of what has just ended take a moment to go, and their calls to be cancelled.
    for (const auto until = Clock::now() + std::chrono::seconds(3);;) {
      auto text = (*client)->request("gpumcp/status", "", {.timeout = std::chrono::seconds(3)});
      auto json = text ? mcp::parse_json(*text) : mcp::Result<mcp::Json>(mcp::Json());
      answers = text && json && json->is_object();
      if (!answers) break;
      status = std::move(*json);
      alone = status.value("connections", 2) <= 1;
      if (alone || keep || connection->started_at < began || Clock::now() > until) break;
      std::this_thread::sleep_for(milliseconds(50));
    }
    if (!answers) continue;
    if (!alone || keep || connection->started_at < began) {
      append_ledger(ledger, ledger_line(*id, ledger_now(), status.value("held_s", 0.0), false));
      continue;
    }
    if (!(*client)->request("gpumcp/stop", "", {.timeout = std::chrono::seconds(3)})) continue;
    client->reset();
    for (const auto until = Clock::now() + std::chrono::seconds(10); Clock::now() < until;) {
      const Ledger then = Ledger::read(ledger);
      if (std::any_of(then.workers().begin(), then.workers().end(),
                      [&](const LedgerWorker& one) { return one.id == *id && one.left; }))
        break;
      std::this_thread::sleep_for(milliseconds(20));
    }
  }
}

// What living workers have held so far: some of them may have been started for this run.
void note_workers_before(const fs::path& ledger) {
  for (const RuntimeFolder& folder : RuntimeFolder::list()) {
    const auto connection = folder.read_connection();
    if (!connection) continue;
    const auto patience = std::chrono::seconds(1);
    auto client = connect_worker(*connection, {.connect_timeout = patience});
    if (!client) continue;
    const auto text = (*client)->request("gpumcp/status", "", {.timeout = patience});
    const auto status = text ? mcp::parse_json(*text) : mcp::Result<mcp::Json>(mcp::Json());
    if (!status || !status->is_object()) continue;
    if (const std::string id = status->value("ledger_id", ""); !id.empty())
      append_ledger(ledger, ledger_before_line(id, status->value("held_s", 0.0)));
  }
}

// Of this environment: what fronts and workers depend on, which some programs keep from servers.
std::vector<std::string> server_variables() {
  std::vector<std::string> out;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view line = *variable, name = line.substr(0, line.find('='));
    const bool ours = name.starts_with("GPUMCP_") || name.starts_with("XDG_") ||
                      name.starts_with("HF_") || name.starts_with("CUDA_") ||
                      name.starts_with("SLURM_") || name == "TMPDIR" || name == "SSH_AUTH_SOCK" ||
                      name == "LD_LIBRARY_PATH";
    if (ours) out.emplace_back(name);
  }
  return out;
}

// Ends the run if this process is killed before it could, or leaves it by an exception: a process of our own waits for the end of
// a pipe whose other end nobody else has, and gets a word through it if all is in order.
class RunGuard {
 public:
  mcp::Result<void> start(const AbandonedRun& run) {
    mcp::Pipe pipe;
    const auto pid =
        mcp::spawn({program_path().string(), "run-guard", "--spec", mcp::to_text(run.to_json())},
                   {.descriptors = {{mcp::kDevNull, 1}, {mcp::kDevNull, 2}, {pipe.read_end(), 0}},
                    .folder = "/",
                    .group = mcp::SpawnOptions::Group::own_session});
    if (!pid) return tl::unexpected(pid.error());
    pid_ = *pid;
    told_ = pipe.take_write();
    return {};
  }
  // The run has ended in order. Without it the guard ends what there is.
  void done() { [[maybe_unused]] auto n = ::write(told_, "done", 4); }
  ~RunGuard() {
    if (told_ < 0) return;
    ::close(told_);
    mcp::reap(pid_);
  }

 private:
  pid_t pid_ = 0;
  int told_ = -1;
};

std::string random_mark() {
  std::string out = read_file("/proc/sys/kernel/random/uuid");
  while (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

}  // namespace

mcp::Json AbandonedRun::to_json() const {
  return {{"mark", mark},
          {"folder", folder.string()},
          {"ledger", ledger.string()},
          {"began", began},
          {"keep_workers", keep_workers}};
}

AbandonedRun AbandonedRun::from_json(const mcp::Json& json) {
  return {.mark = json.at("mark").get<std::string>(),
          .folder = json.at("folder").get<std::string>(),
          .ledger = json.at("ledger").get<std::string>(),
          .began = json.at("began").get<double>(),
          .keep_workers = json.at("keep_workers").get<bool>()};
}

void guard_run(const AbandonedRun& run, int fd) {
  char word[4];
  ssize_t n = 0;
  while ((n = ::read(fd, word, sizeof word)) < 0 && errno == EINTR) {
  }
  if (n > 0 || run.mark.empty()) return;
  end_left_behind(run.mark);
  settle_workers(run.ledger, run.began, run.keep_workers);
  std::error_code ignored;
  // Only what a run makes for itself: `folder` came by a command line.
  if (run.folder.parent_path() == cache_folder() / "runs") fs::remove_all(run.folder, ignored);
}

mcp::Result<AgentOutcome> run_agent(const std::string& prompt, const mcp::Json& mcp_config,
                                    const AgentRunOptions& options,
                                    const OnAgentMessage& on_message, std::stop_token stop) {
  auto servers = parse_mcp_config(mcp_config);
  if (!servers) return tl::unexpected(std::move(servers.error()));
  fs::path program = options.program;
  if (auto found = find_agent_program(options.provider); program.empty()) {
    if (!found) return tl::unexpected(std::move(found.error()));
    program = *found;
  }
  std::error_code error;
  if (!fs::is_directory(options.workspace, error))
    return fail(ErrorCode::invalid_params,
                fmt::format("the workspace {} is no folder", options.workspace.string()));
  const RunFolder folder;
  if (folder.path().empty())
    return fail(ErrorCode::io_error,
                fmt::format("no folder can be made in {}: {}; GPUMCP_CACHE names another place",
                            (cache_folder() / "runs").string(), std::strerror(errno)));
  const fs::path ledger =
      options.ledger.empty() ? folder.path() / "ledger.jsonl" : fs::absolute(options.ledger);
  if (std::ofstream file(ledger, std::ios::app); !file)
    return fail(ErrorCode::io_error, fmt::format("cannot write {}", ledger.string()));

  std::map<std::string, std::string> env = options.env;
  const std::string mark = random_mark();
  env[kLedgerVariable] = ledger.string();
  env[kRunVariable] = mark;
  // Modules of the workspace are found from any folder.
  const std::string modules = fs::absolute(options.workspace).string();
  const char* python_path = std::getenv("PYTHONPATH");
  env["PYTHONPATH"] = python_path && *python_path ? modules + ":" + python_path : modules;

  AgentSetup setup{.provider = options.provider,
                   .servers = std::move(*servers),
                   .model = options.model,
                   .shell = options.shell,
                   .inherit = options.inherit,
                   .arguments = options.arguments};
  std::set<std::string> inherit(setup.inherit.begin(), setup.inherit.end());
  inherit.insert({kLedgerVariable, kRunVariable});
  for (const std::string& name : server_variables()) inherit.insert(name);
  setup.inherit.assign(inherit.begin(), inherit.end());
  auto command = prepare_agent(setup, folder.path());
  if (!command) return tl::unexpected(std::move(command.error()));
  for (const auto& [name, value] : command->env) env[name] = value;

  signal(SIGPIPE, SIG_IGN);
  note_workers_before(ledger);
  const double began = ledger_now();
  RunGuard guard;
  if (auto ok = guard.start({.mark = mark,
                             .folder = folder.path(),
                             .ledger = ledger,
                             .began = began,
                             .keep_workers = options.keep_workers});
      !ok)
    return tl::unexpected(std::move(ok.error()));
  Program run;
  std::vector<std::string> words = {program.string()};
  words.insert(words.end(), command->arguments.begin(), command->arguments.end());
  if (auto ok =
          run.start(words, mcp::environment_with({env.begin(), env.end()}), options.workspace);
      !ok)
    return tl::unexpected(std::move(ok.error()));
  AgentOutcome out;
  std::string last_text;
  run.follow(
      prompt,
      [&](std::string_view line) {
        const auto json = mcp::parse_json(line);
        if (!json) {  // no line of the stream
          run.errors.append(line).append("\n");
          return;
        }
        const auto messages = read_agent_line(options.provider, *json);
        for (const AgentMessage& message : messages) {
          if (message.kind == AgentMessage::Kind::text) last_text = message.text;
          if (message.kind != AgentMessage::Kind::result) continue;
          out.failed = message.failed;
          out.result = message.text.empty() ? last_text : message.text;
        }
        if (on_message) on_message(*json, messages);
      },
      stop);
  out.exit_code = run.exit_code();
  out.interrupted = run.interrupted;
  out.failed = out.failed || out.exit_code != 0;
  if (out.result.empty()) out.result = last_text;
  if (out.failed)
    out.error = run.errors.size() > kErrorTail ? run.errors.substr(run.errors.size() - kErrorTail)
                                               : run.errors;
  end_left_behind(mark);
  const double ended = ledger_now();
  settle_workers(ledger, began, options.keep_workers);
  guard.done();
  out.ledger = Ledger::read(ledger).summary(began, ended, options.price);
  return out;
}

}  // namespace gpumcp::sandbox
