#include "interfaces/python/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <set>

extern char** environ;

namespace gpumcp::python {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
constexpr int kChildSocket = 3;
constexpr size_t kLogTail = 4000;
constexpr auto kLateGrace = std::chrono::seconds(5);
constexpr size_t kMaxBytes = size_t{2} << 30;  // of one message's blobs

// The device as torch in the child understands it.
std::optional<std::string> visible_devices(const std::string& device) {
  if (device == "cpu") return "";
  if (!device.starts_with("cuda:")) return std::nullopt;
  const size_t index = static_cast<size_t>(std::strtoul(device.c_str() + 5, nullptr, 10));
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (!visible || !*visible) return std::to_string(index);
  std::vector<std::string> listed = {""};  // cuda:1 is the second of those that we may see
  for (const char* c = visible; *c; ++c) {
    if (*c == ',')
      listed.emplace_back();
    else
      listed.back() += *c;
  }
  return index < listed.size() ? listed[index] : "";
}

// posix_spawn with these descriptors; everything above is closed. Throws std::runtime_error.
pid_t start(const std::vector<std::string>& command, const std::vector<std::string>& environment,
            const std::vector<std::pair<int, int>>& descriptors) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  int top = 0;
  for (auto [from, to] : descriptors) {
    if (from < 0)
      posix_spawn_file_actions_addopen(&actions, to, "/dev/null", O_RDONLY, 0);
    else
      posix_spawn_file_actions_adddup2(&actions, from, to);
    top = std::max(top, to);
  }
  posix_spawn_file_actions_addclosefrom_np(&actions, top + 1);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  std::vector<char*> argv, envp;
  for (auto& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  for (auto& variable : environment) envp.push_back(const_cast<char*>(variable.c_str()));
  envp.push_back(nullptr);
  pid_t pid = 0;
  const int error = posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error) throw std::runtime_error(fmt::format("{}: {}", command[0], std::strerror(error)));
  return pid;
}

// A pipe or socket pair whose ends are above the descriptors that a child gets, so that dup2 never
// meets one of its own sources.
void move_up(int& fd) {
  const int higher = fcntl(fd, F_DUPFD_CLOEXEC, 16);
  if (higher < 0) throw std::runtime_error(std::strerror(errno));
  ::close(fd);
  fd = higher;
}

bool ends_within(pid_t pid, milliseconds limit) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return true;
  pollfd fds{fd, POLLIN, 0};
  int n = 0;
  while ((n = poll(&fds, 1, static_cast<int>(limit.count()))) < 0 && errno == EINTR) {
  }
  ::close(fd);
  return n > 0;
}

}  // namespace

// One call that waits. Lives on the stack of the thread that waits for it.
struct Child::Pending {
  mcp::Context& context;
  Outcome outcome = {};
  bool done = false;
};

// Buffered reading from a descriptor: lines, and blocks of known length.
struct Child::Reader {
  int fd;
  std::string buffer = {};
  size_t at = 0;

  bool fill() {
    if (at > 0) {
      buffer.erase(0, at);
      at = 0;
    }
    const size_t old = buffer.size();
    buffer.resize(old + 65536);
    ssize_t n = 0;
    while ((n = ::read(fd, buffer.data() + old, 65536)) < 0 && errno == EINTR) {
    }
    buffer.resize(old + static_cast<size_t>(std::max<ssize_t>(n, 0)));
    return n > 0;
  }
  std::optional<std::string> line() {
    size_t seen = at;
    while (true) {
      if (const size_t end = buffer.find('\n', seen); end != buffer.npos) {
        std::string out = buffer.substr(at, end - at);
        at = end + 1;
        return out;
      }
      seen = buffer.size() - at;  // where fill() leaves it
      if (!fill()) return std::nullopt;
    }
  }
  std::optional<std::string> block(size_t size) {
    std::string out = buffer.substr(at, size);
    at += out.size();
    const size_t have = out.size();
    out.resize(size);
    for (size_t got = have; got < size;) {
      const ssize_t n = ::read(fd, out.data() + got, size - got);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return std::nullopt;
      got += static_cast<size_t>(n);
    }
    return out;
  }
};

Child::Child(ChildOptions options) : options_(std::move(options)) {
  for (const std::string& name : options_.secrets) {
    if (const char* value = std::getenv(name.c_str()); value && std::strlen(value) >= 6)
      hidden_.emplace_back(value, name);
  }
  thread_ = std::thread([this] { run(); });
}

Child::~Child() {
  stop();
  if (socket_ >= 0) ::close(socket_);
}

void Child::stop() {
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
    if (helper_pid_) kill(helper_pid_, SIGTERM);
    if (socket_ >= 0) ::shutdown(socket_, SHUT_RDWR);  // it ends at the end of its input
  }
  if (thread_.joinable()) thread_.join();
  if (log_thread_.joinable()) log_thread_.join();
}

bool Child::ended() const {
  std::scoped_lock lock(mutex_);
  return state_ == State::ended;
}
bool Child::was_ready() const {
  std::scoped_lock lock(mutex_);
  return was_ready_;
}
std::string Child::why() const {
  std::scoped_lock lock(mutex_);
  return why_;
}
Clock::time_point Child::ended_at() const {
  std::scoped_lock lock(mutex_);
  return ended_at_;
}

Json Child::status() const {
  std::scoped_lock lock(mutex_);
  static constexpr const char* kNames[] = {"preparing", "loading", "ready", "ended"};
  Json out = {{"file", options_.source.string()}, {"state", kNames[static_cast<int>(state_)]}};
  if (pid_) out["pid"] = pid_;
  if (!python_version_.empty()) out["python"] = python_version_;
  if (!note_.empty() && state_ != State::ready) out["doing"] = note_;
  if (!why_.empty()) out["why"] = why_;
  out["calls"] = pending_.size();
  return out;
}

void Child::note(std::string text) {
  std::scoped_lock lock(mutex_);
  note_ = std::move(text);
  changed_.notify_all();
}

// The thread's whole life: everything that can go wrong ends in end().
void Child::run() {
  try {
    note("looking for Python");
    spawn(prepare());
    read_messages();
  } catch (const std::exception& e) {
    return end(fmt::format("could not be started: {}", e.what()));
  }
  end(how_it_ended());
}

std::string Child::prepare() {
  if (options_.packages.empty() && options_.requires_python.empty() &&
      (options_.version.empty() || options_.version.find('/') != options_.version.npos))
    return options_.version.empty() ? "python3" : options_.version;
  const Json wanted = {{"folder", options_.environments.string()},
                       {"packages", options_.packages},
                       {"version", options_.version},
                       {"requires", options_.requires_python}};
  const std::string input = mcp::to_text(wanted);
  int to[2], from[2];
  if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
    throw std::runtime_error(std::strerror(errno));
  for (int* fd : {&to[0], &to[1], &from[0], &from[1]}) move_up(*fd);
  std::vector<std::string> environment;
  for (char** variable = environ; *variable; ++variable) environment.emplace_back(*variable);
  const pid_t pid =
      start({"python3", "-I", (options_.scripts / "run_host.py").string(), "environment"},
            environment, {{to[0], 0}, {from[1], 1}, {2, 2}});
  ::close(to[0]);
  ::close(from[1]);
  {
    std::scoped_lock lock(mutex_);
    helper_pid_ = pid;
    if (stopping_) kill(pid, SIGTERM);
  }
  [[maybe_unused]] auto n = ::write(to[1], input.data(), input.size());
  ::close(to[1]);
  std::string python, error;
  Reader reader{from[0]};
  while (auto line = reader.line()) {
    const auto message = mcp::parse_json(*line);
    if (!message || !message->is_object()) continue;
    if (message->contains("progress")) note(message->value("progress", ""));
    python = message->value("python", python);
    error = message->value("error", error);
  }
  ::close(from[0]);
  waitpid(pid, nullptr, 0);
  {
    std::scoped_lock lock(mutex_);
    helper_pid_ = 0;
    if (stopping_) throw std::runtime_error("the worker leaves");
  }
  if (python.empty())
    throw std::runtime_error(error.empty() ? "its Python environment could not be made" : error);
  return python;
}

void Child::spawn(const std::string& python) {
  int pair[2], log[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0 || pipe2(log, O_CLOEXEC) != 0)
    throw std::runtime_error(std::strerror(errno));
  for (int* fd : {&pair[0], &pair[1], &log[0], &log[1]}) move_up(*fd);

  std::map<std::string, std::string> more = {{"PYTHONUNBUFFERED", "1"},
                                             {"GPUMCP_DEVICE", options_.device}};
  if (auto visible = visible_devices(options_.device)) more["CUDA_VISIBLE_DEVICES"] = *visible;
  if (options_.threads > 0) more["OMP_NUM_THREADS"] = std::to_string(options_.threads);
  for (auto& [key, value] : options_.env) more[key] = value;
  std::vector<std::string> environment;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view text = *variable;
    if (!more.contains(std::string(text.substr(0, text.find('='))))) environment.emplace_back(text);
  }
  for (auto& [key, value] : more) environment.push_back(key + "=" + value);

  pid_t pid = 0;
  try {
    std::vector<std::string> command = options_.wrap;
    for (const std::string& word :
         {python, (options_.scripts / "run_host.py").string(), std::string("serve")})
      command.push_back(word);
    pid = start(command, environment, {{-1, 0}, {log[1], 1}, {log[1], 2}, {pair[1], kChildSocket}});
  } catch (const std::exception& e) {
    for (int fd : {pair[0], pair[1], log[0], log[1]}) ::close(fd);
    throw std::runtime_error(fmt::format(
        "{}; install Python 3.9 or newer, or name an interpreter: --python PATH", e.what()));
  }
  ::close(pair[1]);
  ::close(log[1]);
  log_thread_ = std::thread([this, fd = log[0]] { read_log(fd); });
  {
    std::scoped_lock lock(mutex_);
    pid_ = pid;
    socket_ = pair[0];
    state_ = State::loading;
    loading_since_ = Clock::now();
    if (options_.held) options_.held->hold();
    holds_ = true;
    note_ = "loading " + options_.source.filename().string();
    if (stopping_) ::shutdown(socket_, SHUT_RDWR);
    changed_.notify_all();
  }
  send({{"type", "load"},
        {"file", options_.source.string()},
        {"tools", options_.tools},
        {"secrets", options_.secrets}});
}

// What the child prints goes to our stderr, the worker's log, without secrets.
void Child::read_log(int fd) {
  Reader reader{fd};
  while (auto line = reader.line()) {
    for (auto& [value, name] : hidden_) {
      for (size_t at = 0; (at = line->find(value, at)) != line->npos;)
        line->replace(at, value.size(), "[secret " + name + "]");
    }
    *line += '\n';
    [[maybe_unused]] auto n = ::write(2, line->data(), line->size());
    std::scoped_lock lock(mutex_);
    log_tail_ += *line;
    if (log_tail_.size() > 2 * kLogTail) log_tail_.erase(0, log_tail_.size() - kLogTail);
  }
  ::close(fd);
}

void Child::read_messages() {
  Reader reader{socket_};
  while (auto line = reader.line()) {
    const auto message = mcp::parse_json(*line);
    if (!message || !message->is_object()) {
      note("it sent what is no message");
      break;
    }
    std::string bytes;
    if (const auto size = message->find("bytes"); size != message->end()) {
      if (!size->is_number_unsigned() || size->get<size_t>() > kMaxBytes) break;
      auto block = reader.block(size->get<size_t>());
      if (!block) break;
      bytes = std::move(*block);
    }
    take(*message, std::move(bytes));
  }
}

void Child::take(const Json& message, std::string bytes) {
  const std::string type = message.value("type", "");
  if (type == "ask") return answer(message);
  std::scoped_lock lock(mutex_);
  if (type == "ready") {
    state_ = State::ready;
    was_ready_ = true;
    python_version_ = message.value("python", "");
    changed_.notify_all();
    return;
  }
  if (type == "failed") {
    why_ = fmt::format("could not be loaded: {}", message.value("error", ""));
    return;
  }
  const auto found = pending_.find(message.value("id", int64_t{0}));
  if (found == pending_.end()) return;
  Pending& pending = *found->second;
  if (type == "progress") {
    const Json& total = message["total"];
    pending.context.progress(message.value("progress", 0.0),
                             total.is_number() ? std::optional(total.get<double>()) : std::nullopt,
                             message.value("message", ""));
  } else if (type == "log") {
    pending.context.log(
        mcp::find_log_level(message.value("level", "info")).value_or(mcp::LogLevel::info),
        message.value("data", Json("")), options_.source.stem().string());
  } else if (type == "result" || type == "error") {
    Outcome& outcome = pending.outcome;
    outcome.ran = message.contains("run_ms");
    outcome.run_ms = message.value("run_ms", 0.0);
    if (type == "error") {
      outcome.error = message.value("error", "");
      if (outcome.error.empty()) outcome.error = "it failed without a word";
    } else {
      size_t at = message.value("json_bytes", size_t{0});
      outcome.json = bytes.substr(0, at);
      outcome.wrapped = message.value("wrapped", false);
      for (const Json& blob : message.value("blobs", Json::array())) {
        const size_t size = blob.value("nbytes", size_t{0});
        outcome.blobs.push_back({.pointer = blob.value("pointer", ""),
                                 .mime_type = blob.value("mime_type", ""),
                                 .name = blob.value("name", ""),
                                 .dtype = blob.value("dtype", ""),
                                 .shape = blob.value("shape", std::vector<int64_t>{}),
                                 .bytes = bytes.substr(std::min(at, bytes.size()), size)});
        at += size;
      }
    }
    pending.done = true;
    changed_.notify_all();
  }
}

void Child::answer(const Json& question) {
  Json reply = {{"type", "answer"}, {"id", question.value("id", int64_t{0})}};
  std::string bytes;
  try {
    auto [value, found] = options_.ask(question.value("what", ""), question.value("name", ""));
    reply["value"] = std::move(value);
    bytes = std::move(found);
  } catch (const std::exception& e) {
    reply["error"] = e.what();
  }
  if (!bytes.empty()) reply["bytes"] = bytes.size();
  send(reply, bytes);
}

void Child::send(const Json& message, std::string_view bytes) {
  std::string data = mcp::to_text(message);
  data += '\n';
  data += bytes;
  std::scoped_lock lock(send_mutex_);
  std::string_view left = data;
  while (!left.empty()) {
    const ssize_t n = ::send(socket_, left.data(), left.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // it died: the reading thread says so
    left.remove_prefix(static_cast<size_t>(n));
  }
}

std::string Child::how_it_ended() {
  std::string how;
  bool by_us = false;
  {
    std::scoped_lock lock(mutex_);
    by_us = stopping_;
  }
  if (!ends_within(pid_, milliseconds(by_us ? 2000 : 5000))) {
    kill(pid_, SIGKILL);
    how = "stopped answering and was ended";
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  if (log_thread_.joinable()) log_thread_.join();  // all that it said is there now
  if (how.empty()) {
    if (WIFSIGNALED(status)) {
      const int number = WTERMSIG(status);
      how = fmt::format("was killed by signal {} ({})", number, strsignal(number));
      if (number == SIGKILL) how += ", by somebody or because the machine ran out of memory";
    } else {
      how = fmt::format("exited with code {}", WEXITSTATUS(status));
    }
  }
  std::scoped_lock lock(mutex_);
  if (!why_.empty()) return why_;  // it said why itself
  std::string tail = log_tail_;
  if (tail.size() > 600) {
    tail.erase(0, tail.size() - 600);
    if (const size_t line = tail.find('\n'); line != tail.npos) tail.erase(0, line + 1);
  }
  while (!tail.empty() && tail.back() == '\n') tail.pop_back();
  if (!tail.empty()) how += fmt::format("; it last said: {}", tail);
  return how;
}

void Child::end(const std::string& why) {
  std::scoped_lock lock(mutex_);
  state_ = State::ended;
  ended_at_ = Clock::now();
  if (std::exchange(holds_, false) && options_.held) options_.held->release();
  pid_ = 0;
  why_ = why;
  changed_.notify_all();
}

std::string Child::load(mcp::Context& context) {
  const std::stop_token stop = context.stop_token();
  std::unique_lock lock(mutex_);
  // A start may take minutes: the caller hears of it. The numbers stay far below any that the
  // function itself reports, since progress may only grow.
  std::string told;
  while (state_ < State::ready && !stop.stop_requested()) {
    const double waited = std::chrono::duration<double>(Clock::now() - began_).count();
    if (const std::string now = note_; now != told || waited > 5) {
      told = now;
      lock.unlock();
      context.progress(waited * 1e-6, {}, fmt::format("{} ({:.0f} s)", now, waited));
      lock.lock();
      if (state_ >= State::ready) break;
    }
    const double loading_s = std::chrono::duration<double>(Clock::now() - loading_since_).count();
    if (state_ == State::loading && loading_s >= options_.load_timeout_s && pid_) {
      why_ = fmt::format("was not loaded within {} s (load_timeout)", options_.load_timeout_s);
      kill(pid_, SIGKILL);
    }
    const double left_s = state_ == State::loading ? options_.load_timeout_s - loading_s : 5;
    changed_.wait_for(lock, stop, std::chrono::duration<double>(std::clamp(left_s, 0.05, 5.0)),
                      [&] { return state_ >= State::ready || note_ != told; });
  }
  if (state_ < State::ready) return "cancelled before it began";
  if (state_ == State::ended)
    return fmt::format("was not run: {} {}", options_.source.filename().string(), why_);
  return {};
}

Outcome Child::call(const std::string& tool, const Json& arguments, const std::string& output,
                    mcp::Context& context) {
  if (std::string why = load(context); !why.empty()) return {.error = std::move(why)};
  const std::string file = options_.source.filename().string();
  const std::stop_token stop = context.stop_token();
  std::unique_lock lock(mutex_);
  const auto sent = Clock::now();
  Pending pending{context};
  const int64_t id = next_id_++;
  pending_[id] = &pending;
  Json message = {
      {"type", "call"}, {"id", id}, {"tool", tool}, {"arguments", arguments}, {"output", output}};
  const Json& meta = context.call()._meta;
  if (const auto session = meta.find("gpumcp/session");
      session != meta.end() && session->is_string())
    message["session"] = *session;
  lock.unlock();
  send(message);
  lock.lock();
  auto over = [&] { return pending.done || state_ == State::ended; };
  const auto limit = meta.find("gpumcp/deadline_ms");
  const double limit_ms = limit != meta.end() && limit->is_number() ? limit->get<double>() : 1e12;
  const auto deadline = sent + milliseconds(static_cast<int64_t>(std::clamp(limit_ms, 0.0, 1e12)));
  bool late = false;
  if (!changed_.wait_until(lock, stop, deadline, over)) {
    late = !stop.stop_requested();
    lock.unlock();
    send({{"type", "cancel"}, {"id", id}});
    lock.lock();
    if (!late) {
      changed_.wait(lock, over);  // the worker's own patience with cancelled calls is its front's
    } else if (!changed_.wait_for(lock, kLateGrace, over) && pid_) {
      kill(pid_, SIGKILL);  // nothing else ends code that does not let itself be interrupted
      changed_.wait(lock, over);
    }
  }
  pending_.erase(id);
  if (!pending.done) {
    pending.outcome.ran = true;
    pending.outcome.error = fmt::format(
        "failed: the Python process of {} {}. Call again: it is started anew by itself, with fresh "
        "module state",
        file, why_);
  } else {
    pending.outcome.queue_ms =
        std::max(0.0, std::chrono::duration<double, std::milli>(Clock::now() - sent).count() -
                          pending.outcome.run_ms);
  }
  if (late && !pending.outcome.error.empty())
    pending.outcome.error =
        fmt::format("failed: it took longer than the {} s that a call may take", limit_ms / 1000);
  return std::move(pending.outcome);
}

}  // namespace gpumcp::python
