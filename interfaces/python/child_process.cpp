// Child, its process: the Python it runs on, its start, what it prints and how it ended.
#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "interfaces/python/child_reader.h"
#include "mcp/spawn.h"

namespace gpumcp::python {
namespace {

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;
constexpr int kChildSocket = 3;
constexpr size_t kLogTail = 4000;

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

}  // namespace

std::string Child::prepare() {
  if (options_.packages.empty() && options_.requires_python.empty() &&
      (options_.version.empty() || options_.version.find('/') != options_.version.npos))
    return options_.version.empty() ? "python3" : options_.version;
  const Json wanted = {{"folder", options_.environments.string()},
                       {"packages", options_.packages},
                       {"version", options_.version},
                       {"requires", options_.requires_python}};
  const std::string input = mcp::to_text(wanted);
  mcp::Pipe to, from;
  const auto pid =
      mcp::spawn({"python3", "-I", (options_.scripts / "run_host.py").string(), "environment"},
                 {.descriptors = {{to.read_end(), 0}, {from.write_end(), 1}}});
  if (!pid) throw std::runtime_error(pid.error().message);
  to.close_read();
  from.close_write();
  {
    std::scoped_lock lock(mutex_);
    helper_pid_ = *pid;
    if (stopping_) kill(*pid, SIGTERM);
  }
  [[maybe_unused]] auto n = ::write(to.write_end(), input.data(), input.size());
  to.close_write();
  std::string python, error;
  Reader reader{from.read_end()};
  while (auto line = reader.line()) {
    const auto message = mcp::parse_json(*line);
    if (!message || !message->is_object()) continue;
    if (message->contains("progress")) note(message->value("progress", ""));
    python = message->value("python", python);
    error = message->value("error", error);
  }
  mcp::reap(*pid);
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
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
    throw std::runtime_error(std::strerror(errno));
  mcp::Pipe log;
  std::map<std::string, std::optional<std::string>> more = {{"PYTHONUNBUFFERED", "1"},
                                                            {"GPUMCP_DEVICE", options_.device}};
  if (auto visible = visible_devices(options_.device)) more["CUDA_VISIBLE_DEVICES"] = *visible;
  if (options_.threads > 0) more["OMP_NUM_THREADS"] = std::to_string(options_.threads);
  for (auto& [key, value] : options_.env) more[key] = value;
  std::vector<std::string> command = options_.wrap;
  for (const std::string& word :
       {python, (options_.scripts / "run_host.py").string(), std::string("serve")})
    command.push_back(word);
  const auto pid = mcp::spawn(command, {.descriptors = {{mcp::kDevNull, 0},
                                                        {log.write_end(), 1},
                                                        {log.write_end(), 2},
                                                        {pair[1], kChildSocket}},
                                        .environment = mcp::environment_with(more)});
  ::close(pair[1]);
  if (!pid) {
    ::close(pair[0]);
    throw std::runtime_error(
        fmt::format("{}; install Python 3.9 or newer, or name an interpreter: --python PATH",
                    pid.error().message));
  }
  log.close_write();
  log_thread_ = std::thread([this, fd = log.take_read()] { read_log(fd); });
  {
    std::scoped_lock lock(mutex_);
    pid_ = *pid;
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

std::string Child::how_it_ended() {
  std::string how;
  bool by_us = false;
  {
    std::scoped_lock lock(mutex_);
    by_us = stopping_;
  }
  if (!mcp::ended_within(pid_, milliseconds(by_us ? 2000 : 5000))) {
    kill(pid_, SIGKILL);
    how = "stopped answering and was ended";
  }
  const int status = mcp::reap(pid_);
  if (log_thread_.joinable()) log_thread_.join();  // all that it said is there now
  if (how.empty()) how = mcp::describe_end(status);
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

}  // namespace gpumcp::python
