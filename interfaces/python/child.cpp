#include "interfaces/python/child.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "interfaces/python/child_reader.h"

namespace gpumcp::python {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
constexpr auto kLateGrace = std::chrono::seconds(5);
constexpr size_t kMaxBytes = size_t{2} << 30;  // of one message's blobs

}  // namespace

// One call that waits. Lives on the stack of the thread that waits for it.
struct Child::Pending {
  mcp::Context& context;
  Outcome outcome = {};
  bool done = false;
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
  if (pending.done) return;  // whatever more the process says of it
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
