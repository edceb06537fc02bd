#include "sandbox/relay.h"

#include <fmt/format.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "mcp/line_transport.h"
#include "sandbox/callback.h"
#include "sandbox/carried.h"
#include "sandbox/subprocess.h"
#include "sandbox/tool_guard.h"
#include "sandbox/worker.h"

namespace gpumcp::sandbox {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
constexpr size_t kMaxHello = 1u << 20;  // what may be printed before a worker says hello
constexpr int kMissing = 127;           // the shell's word for a program that is not there

std::string json_string(std::string_view text) {
  std::string out;
  mcp::append_string(out, text);
  return out;
}

}  // namespace

// The provider's command while it runs: its pipes, what it says on stderr, its end. One thread
// reads its log; the others are the relay's.
class Relay::Started {
 public:
  Started(const std::vector<std::string>& command, std::function<void(std::string)> on_line)
      : on_line_(std::move(on_line)) {
    mcp::Pipe in, out, err;
    // A group of its own: ssh and srun may start helpers, and a signal to all of them is then one.
    const auto pid = mcp::spawn(
        command, {.descriptors = {{in.read_end(), 0}, {out.write_end(), 1}, {err.write_end(), 2}},
                  .group = mcp::SpawnOptions::Group::own_group});
    if (!pid) throw std::runtime_error(pid.error().message);
    pid_ = *pid;
    to_ = in.take_write();
    from_ = out.take_read();
    log_thread_ = std::thread([this, fd = err.take_read()] { read_log(fd); });
  }
  ~Started() {
    close_pipes();
    if (ended(milliseconds(0)) < 0) {
      kill(-pid_, SIGKILL);
      ended(milliseconds(2000));
    }
    log_thread_.join();
  }
  Started(const Started&) = delete;
  Started& operator=(const Started&) = delete;

  // Whether all of it could be written.
  bool write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t n = ::write(to_, text.data(), text.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      text.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  // The next line, byte by byte, so that what follows it is left for the protocol. nullopt: the
  // end;
  // "": nothing yet within the limit.
  std::optional<std::string> line(milliseconds limit) {
    const auto deadline = Clock::now() + limit;
    while (true) {
      const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
      pollfd fds{from_, POLLIN, 0};
      if (left.count() <= 0 || poll(&fds, 1, static_cast<int>(left.count())) == 0) return "";
      char c = 0;
      const ssize_t n = ::read(from_, &c, 1);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return std::nullopt;
      if (c == '\n') {
        std::string out = std::exchange(partial_, {});
        return out.empty() ? std::string(" ") : out;
      }
      if (partial_.size() < kMaxHello) partial_ += c;
    }
  }
  // Gives the pipes away, to a transport that closes them.
  std::unique_ptr<mcp::Transport> take_transport() {
    return mcp::make_line_transport(std::exchange(from_, -1), std::exchange(to_, -1),
                                    {.max_message_bytes = 256u << 20});
  }
  void close_pipes() {
    for (int* fd : {&to_, &from_}) {
      if (*fd >= 0) ::close(std::exchange(*fd, -1));
    }
  }
  // Its exit code, 128 + N for signal N; -1: it runs on after the limit.
  int ended(milliseconds limit) {
    std::scoped_lock lock(mutex_);
    if (code_ >= 0) return code_;
    mcp::ended_within(pid_, limit);
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) != pid_) return -1;
    return code_ = mcp::exit_code(status);
  }
  int pid() const { return pid_; }
  std::string log_tail() {
    std::scoped_lock lock(mutex_);
    std::string tail = log_.size() > 800 ? log_.substr(log_.size() - 800) : log_;
    while (!tail.empty() && tail.back() == '\n') tail.pop_back();
    return tail;
  }

 private:
  void read_log(int fd) {
    std::string buffer;
    char chunk[4096];
    ssize_t n = 0;
    while ((n = ::read(fd, chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR)) {
      if (n < 0) continue;
      [[maybe_unused]] auto written = ::write(2, chunk, static_cast<size_t>(n));
      {
        std::scoped_lock lock(mutex_);
        log_.append(chunk, static_cast<size_t>(n));
        if (log_.size() > 16384) log_.erase(0, log_.size() - 8192);
      }
      buffer.append(chunk, static_cast<size_t>(n));
      for (size_t end = 0; (end = buffer.find('\n')) != buffer.npos; buffer.erase(0, end + 1))
        on_line_(buffer.substr(0, end));
    }
    ::close(fd);
  }

  const std::function<void(std::string)> on_line_;
  int pid_ = 0, to_ = -1, from_ = -1;
  std::string partial_;
  std::mutex mutex_;  // guards what follows
  std::string log_;
  int code_ = -1;
  std::thread log_thread_;
};

Relay::Relay(SandboxConfig config, Provider provider, std::vector<Manifest> manifests,
             std::function<void()> on_over)
    : config_(std::move(config)),
      provider_(std::move(provider)),
      manifests_(std::move(manifests)),
      on_over_(std::move(on_over)),
      job_(fmt::format("gpumcp-{}-{}", config_.key(), getpid())) {
  thread_ = std::thread([this] { run(); });
}

Relay::~Relay() { stop(); }

void Relay::attach(mcp::Server& server) {
  server_ = &server;
  bool first = true;
  for (const Manifest& manifest : manifests_) {
    server.add_forwarded(
        manifest.tools, first ? manifest.templates : std::vector<mcp::ResourceTemplate>{},
        [this](std::shared_ptr<mcp::ForwardedRequest> request) { submit(std::move(request)); });
    first = false;
  }
  server.add_forwarded({load_tool()}, {}, [this](std::shared_ptr<mcp::ForwardedRequest> request) {
    submit(std::move(request));
  });
}

void Relay::submit(std::shared_ptr<mcp::ForwardedRequest> request) {
  std::shared_ptr<mcp::Client> client;
  std::string why;
  {
    std::scoped_lock lock(mutex_);
    why = over_;
    client = client_;
    if (why.empty() && !client) {
      waiting_.push_back(std::move(request));
      wanted_ = true;
      changed_.notify_all();
      return;
    }
  }
  if (!why.empty())
    return request->respond_tool_error(fmt::format("{} was not run: {}", request->name(), why));
  send(client, std::move(request));
}

void Relay::send(const std::shared_ptr<mcp::Client>& client,
                 std::shared_ptr<mcp::ForwardedRequest> request) {
  if (request->stop_token().stop_requested()) return;
  std::string params;
  if (request->method() == "tools/call")
    params = fmt::format(R"("name":{},"arguments":{})", json_string(request->name()),
                         request->arguments().empty() ? "{}" : request->arguments());
  else
    params = fmt::format(R"("uri":{})", json_string(request->name()));
  if (std::string round = request->round(); !round.empty()) params += "," + round;
  mcp::Json meta = mcp::Json::object();
  for (auto& [key, value] : request->meta().items()) {
    if (key != "progressToken" && !key.starts_with("io.modelcontextprotocol/")) meta[key] = value;
  }
  // The folder is one of this machine; there a result can only be kept.
  meta.erase("gpumcp/workspace");
  // Ends with the answer; cancelling it from the caller's side needs it to live so long.
  struct OnStop {
    std::mutex mutex;
    std::optional<std::stop_callback<std::function<void()>>> callback;
  };
  auto on_stop = std::make_shared<OnStop>();
  mcp::Client::AsyncHandlers handlers;
  handlers.on_result = [this, request, on_stop](mcp::Result<std::string_view> result) {
    {
      std::scoped_lock lock(on_stop->mutex);
      on_stop->callback.reset();
    }
    if (result) return request->respond_result(*result);
    if (static_cast<int>(result.error().code) < 0) return request->respond_error(result.error());
    std::string tail;
    {
      std::scoped_lock lock(mutex_);
      if (started_) tail = started_->log_tail();
      lost_ = true;
    }
    request->respond_tool_error(fmt::format(
        "{} failed: the connection to its worker ({}) was lost. Calls that ran there are lost; "
        "call again: a new one "
        "is started by itself.{}",
        request->name(), config_.provider, tail.empty() ? "" : " It last said: " + tail));
  };
  if (request->wants_progress())
    handlers.on_progress = [request](const mcp::Json& progress) { request->progress(progress); };
  const mcp::RequestId id =
      client->request_async(request->method(), params, std::move(handlers), std::move(meta));
  std::scoped_lock lock(on_stop->mutex);
  on_stop->callback.emplace(request->stop_token(), [weak = std::weak_ptr(client), id] {
    if (auto alive = weak.lock()) alive->cancel(id);
  });
}

// Those that wait for a worker hear how it goes. Their numbers stay below any that a function
// reports.
void Relay::tell_waiting() {
  std::list<std::shared_ptr<mcp::ForwardedRequest>> told;
  std::string note;
  double waited = 0;
  {
    std::scoped_lock lock(mutex_);
    waiting_.remove_if([](auto& one) { return one->stop_token().stop_requested(); });
    told = waiting_;
    note = note_;
    waited = std::chrono::duration<double>(Clock::now() - since_).count();
  }
  for (auto& request : told) {
    if (request->wants_progress())
      request->progress(
          {{"progress", waited * 1e-9}, {"message", fmt::format("{} ({:.0f} s)", note, waited)}});
  }
}

void Relay::run() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return wanted_ || stopping_; });
    if (stopping_) return;
    since_ = Clock::now();
  }
  std::string why;
  try {
    bool missing = false;
    why = start_once(missing);
    if (missing && provider_.kind == Provider::Kind::ssh) {
      {
        std::scoped_lock lock(mutex_);
        note_ = "copying gpumcp to " + provider_.host;
      }
      spdlog::info("gpumcp is not on {} in this version: copying it there", provider_.host);
      tell_waiting();
      if (auto ok = bring_program(provider_.host); !ok)
        why = ok.error().message;
      else
        why = start_once(missing);
    }
  } catch (const std::exception& e) {
    why = e.what();
  }
  over(why);
}

std::string Relay::start_once(bool& missing) {
  missing = false;
  auto started =
      std::make_shared<Started>(provider_.start_command(config_, job_), [this](std::string line) {
        std::scoped_lock lock(mutex_);
        if (!client_ && !line.empty())
          note_ = line.substr(0, 200);  // srun: job 12 queued and waiting
      });
  {
    std::scoped_lock lock(mutex_);
    if (stopping_) return "the worker leaves";
    started_ = started;
    note_ = fmt::format("starting a worker with {}", config_.provider);
  }
  signal(SIGPIPE, SIG_IGN);
  std::unique_ptr<Callback> callback;
  if (provider_.kind == Provider::Kind::slurm) {
    if (const std::string address = callback_address(); !address.empty()) {
      if (auto listening = Callback::listen(address))
        callback = std::move(*listening);
      else
        spdlog::warn("{}; the job's pipe is used", listening.error().message);
    }
  }
  started->write(pack_config(config_, manifests_, callback ? callback->describe() : nullptr) +
                 "\n");
  mcp::Json hello;
  Clock::time_point told = Clock::now();
  const Clock::time_point begun = told;
  const double limit_s = config_.start_timeout_s.value_or(kNever);
  while (hello.is_null()) {
    if (const double waited = std::chrono::duration<double>(Clock::now() - begun).count();
        waited > limit_s) {
      started->close_pipes();
      return fmt::format("its worker ({}) did not start within {} s (start_timeout)",
                         config_.provider, limit_s);
    }
    auto line = started->line(milliseconds(200));
    if (!line) break;
    if (Clock::now() - told > std::chrono::seconds(2)) {
      told = Clock::now();
      tell_waiting();
    }
    {
      std::scoped_lock lock(mutex_);
      if (stopping_) return "the worker leaves";
    }
    if (line->empty()) continue;
    auto json = mcp::parse_json(*line);
    if (json && json->is_object() && json->contains("gpumcp_worker"))
      hello = std::move(*json);
    else
      spdlog::info("{}: {}", config_.provider, *line);  // what a login prints
  }
  if (hello.is_null()) {
    started->close_pipes();
    const int code = started->ended(std::chrono::seconds(5));
    missing = code == kMissing;
    std::string tail = started->log_tail();
    if (missing && tail.empty()) tail = "gpumcp is not installed there";
    return fmt::format("its worker could not be started by {}: {} (exit code {})", config_.provider,
                       tail.empty() ? "it said nothing" : tail, code);
  }
  if (const std::string error = hello.value("error", ""); !error.empty())
    return fmt::format("its worker ({}) could not start: {}", config_.provider, error);
  if (const std::string version = hello.value("version", ""); version != GPUMCP_VERSION) {
    missing = true;
    return fmt::format("{} has gpumcp {}, and this is {}: install the same there", config_.provider,
                       version, GPUMCP_VERSION);
  }
  std::unique_ptr<mcp::Transport> transport;
  if (callback && hello.value("called_back", false)) {
    auto fd = callback->accept(std::chrono::seconds(10));
    if (!fd) return fmt::format("its worker ({}): {}", config_.provider, fd.error().message);
    transport = mcp::make_line_transport(*fd, *fd, {.max_message_bytes = 256u << 20});
  } else {
    transport = started->take_transport();
  }
  callback.reset();
  mcp::ClientOptions options{.info = {"gpumcp relay", GPUMCP_VERSION}};
  options.on_notification = [this](const std::string& method, std::string_view params) {
    // A job that is nearly over: what comes from now on goes to another, by another relay.
    if (method == kLeavingNotification) tell_over();
    if (method == kLateNotification && server_) server_->notify_all(method, params);
  };
  options.era = mcp::Era::modern;
  options.connect_timeout = std::chrono::seconds(60);
  options.on_closed = [this] {
    std::scoped_lock lock(mutex_);
    lost_ = true;
    changed_.notify_all();
  };
  auto client = mcp::Client::connect(std::move(transport), std::move(options));
  if (!client)
    return fmt::format("its worker ({}) does not answer: {}", config_.provider,
                       client.error().message);
  std::list<std::shared_ptr<mcp::ForwardedRequest>> ready;
  std::shared_ptr<mcp::Client> shared(std::move(*client));
  {
    std::scoped_lock lock(mutex_);
    hello_ = hello;
    held_since_ = Clock::now();
    client_ = shared;
    ready = std::exchange(waiting_, {});
  }
  spdlog::info("{}: worker {} on {}", config_.provider, hello.value("pid", 0),
               hello.value("host", ""));
  for (auto& request : ready) send(shared, std::move(request));
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return stopping_ || lost_; });
    client_ = nullptr;
    if (!stopping_)
      over_ = fmt::format("the connection to its worker ({}) was lost", config_.provider);
  }
  shared->close();
  shared.reset();
  return "";
}

// Nothing goes on from here: what waits hears why, what was started is ended.
void Relay::over(const std::string& why) {
  std::list<std::shared_ptr<mcp::ForwardedRequest>> failed;
  std::shared_ptr<Started> started;
  bool asked = false;
  {
    std::scoped_lock lock(mutex_);
    if (over_.empty()) over_ = why.empty() ? "the worker leaves" : why;
    failed = std::exchange(waiting_, {});
    started = started_;
    asked = stopping_;
  }
  const auto gone = [this] {
    std::scoped_lock lock(mutex_);
    if (held_since_) held_ += Clock::now() - *held_since_;
    held_since_.reset();
  };
  if (!why.empty() && !asked) spdlog::error("{}", why);
  for (auto& request : failed)
    request->respond_tool_error(fmt::format("{} was not run: {}", request->name(), over_));
  if (started) {
    started->close_pipes();
    if (started->ended(milliseconds(3000)) < 0) {
      if (auto cancel = provider_.cancel_command(job_)) run_captured(*cancel);
      if (started->ended(milliseconds(10000)) < 0) kill(-started->pid(), SIGKILL);
    } else if (auto cancel = provider_.cancel_command(job_); cancel && !why.empty()) {
      run_captured(*cancel);  // srun is gone, and its job may be not
    }
  }
  gone();
  if (!asked) tell_over();
}

void Relay::tell_over() {
  if (!told_over_.exchange(true)) on_over_();
}

mcp::Json Relay::status() {
  std::scoped_lock lock(mutex_);
  mcp::Json out = {{"provider", config_.provider},
                   {"state", client_          ? "connected"
                             : !over_.empty() ? "over"
                             : wanted_        ? "starting"
                                              : "not started"}};
  if (!hello_.is_null()) {
    out["worker"] = {{"pid", hello_.value("pid", 0)}, {"host", hello_.value("host", "")}};
    out["over"] = hello_.value("called_back", false) ? "tcp" : "pipe";
  }
  if (!client_ && !note_.empty()) out["doing"] = note_;
  auto held = held_;
  if (held_since_) held += Clock::now() - *held_since_;
  return {{"remote", std::move(out)}, {"held_s", std::chrono::duration<double>(held).count()}};
}

void Relay::stop() {
  {
    std::scoped_lock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

}  // namespace gpumcp::sandbox
