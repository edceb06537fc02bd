#include "mcp/client_process.h"

#include <fmt/format.h>
#include <signal.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <system_error>

#include "mcp/json_members.h"
#include "mcp/message.h"
#include "mcp/spawn.h"

namespace gpumcp::mcp {
namespace {

const RequestId kRenewal = {"\"gpumcp-renewed\""};

// A running server. Whoever lets it go last closes its pipes; end() reaps it.
struct Child {
  pid_t pid = 0;
  std::unique_ptr<Transport> transport;
};

Result<std::shared_ptr<Child>> start_child(const std::vector<std::string>& command,
                                           const ProcessOptions& options) try {
  std::map<std::string, std::optional<std::string>> changes;
  for (const auto& [name, value] : options.environment)
    changes[name] = value.empty() ? std::nullopt : std::optional(value);
  Pipe to_child, from_child;
  const auto pid =
      spawn(command, {.descriptors = {{to_child.read_end(), 0}, {from_child.write_end(), 1}},
                      .environment = environment_with(changes),
                      .folder = options.folder});
  if (!pid) return tl::unexpected(pid.error());
  auto child = std::make_shared<Child>();
  child->pid = *pid;
  child->transport = make_line_transport(from_child.take_read(), to_child.take_write(),
                                         {.max_message_bytes = options.max_message_bytes});
  return child;
} catch (const std::system_error& e) {
  return fail(ErrorCode::io_error, e.what());
}

// How it ended, in words. Its stdin is closed already.
std::string end_child(pid_t pid, std::chrono::milliseconds patience) {
  if (!ended_within(pid, patience)) {
    kill(pid, SIGTERM);
    if (!ended_within(pid, patience)) kill(pid, SIGKILL);
  }
  return describe_end(reap(pid));
}

class ProcessTransport final : public Transport {
 public:
  ProcessTransport(std::vector<std::string> command, ProcessOptions options,
                   std::shared_ptr<Child> child)
      : command_(std::move(command)), options_(std::move(options)), child_(std::move(child)) {}

  ~ProcessTransport() override {
    close();
    const pid_t pid = child_ ? child_->pid : 0;
    child_.reset();  // closes its stdin
    if (pid) end_child(pid, options_.patience);
  }

  void on_renewed(std::function<void()> renewed) override { renewed_ = std::move(renewed); }

  Result<std::optional<std::string>> read() override {
    while (true) {
      std::shared_ptr<Child> child;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return closed_ || given_up_ || !failed_.empty() || child_; });
        if (!failed_.empty() && !closed_) {
          std::string message = std::move(failed_.front());
          failed_.pop_front();
          return message;
        }
        if (closed_) return std::optional<std::string>();
        if (given_up_ && !child_) return fail(ErrorCode::closed, last_end_);
        child = child_;
      }
      auto text = child->transport->read();
      if (!text && text.error().code == ErrorCode::invalid_request) return text;
      if (!text || !*text)
        on_end(std::move(child));
      else if (take(*child, **text))
        return text;
    }
  }

  Result<void> write(std::string_view text) override {
    auto message = parse_message(std::string(text));
    if (!message) return tl::unexpected(std::move(message.error()));
    std::shared_ptr<Child> child;
    bool other = false;  // than the one that the client has met
    {
      std::scoped_lock lock(mutex_);
      if (closed_ || given_up_)
        return fail(ErrorCode::closed, given_up_ ? last_end_ : "the connection is closed");
      const bool is_request = message->kind() == Message::Kind::request;
      if (!child_ && !is_request) return {};  // whom it concerned has gone
      if (is_request && message->method() == "initialize") {
        initialize_ = message->params();
        initialize_id_ = message->id();
        version_.clear();
      }
      if (!child_) {
        auto started = start_child(command_, options_);
        if (!started) return tl::unexpected(std::move(started.error()));
        child_ = std::move(*started);
        // Only what has been initialized once, in an older version, is initialized again.
        renewing_ = !version_.empty();
        if (renewing_)
          (void)child_->transport->write(make_request(kRenewal, "initialize", initialize_));
        other = !renewing_;
        changed_.notify_all();
      }
      if (is_request) pending_.insert(message->id());
      if (renewing_) {
        held_.emplace_back(text);
        return {};
      }
      child = child_;
    }
    if (other && renewed_) renewed_();
    // A child that takes nothing has gone, or is as good as gone: the reader settles what it owes.
    if (!child->transport->write(text)) child->transport->close();
    return {};
  }

  void close() noexcept override {
    std::shared_ptr<Child> child;
    {
      std::scoped_lock lock(mutex_);
      closed_ = true;
      child = child_;
      changed_.notify_all();
    }
    if (child) child->transport->close();
  }

 private:
  // True: the message is the client's, not ours.
  bool take(Child& child, const std::string& text) {
    auto message = parse_message(text);
    if (!message) return true;
    using Kind = Message::Kind;
    if (message->kind() != Kind::result && message->kind() != Kind::error) return true;
    std::vector<std::string> held;
    {
      std::scoped_lock lock(mutex_);
      if (message->id() != kRenewal) {
        pending_.erase(message->id());
        restarts_ = 0;
        if (message->id() == initialize_id_ && message->kind() == Kind::result)
          version_ = version_of(message->result());
        return true;
      }
      if (!renewing_) return false;
      if (message->kind() == Kind::result && version_of(message->result()) == version_) {
        renewing_ = false;
        held.swap(held_);
      }
    }
    if (held.empty()) {  // another program is there now: the client knows one version for its life
      child.transport->close();
      return false;
    }
    (void)child.transport->write(make_notification("notifications/initialized", {}));
    if (renewed_) renewed_();
    for (const std::string& one : held)
      if (!child.transport->write(one)) child.transport->close();
    return false;
  }

  static std::string version_of(std::string_view result) {
    std::string out;
    (void)scan_json(result, [&](std::string_view key, std::string_view value) {
      if (key == "protocolVersion") out = string_of(value);
    });
    return out;
  }

  void on_end(std::shared_ptr<Child> child) {
    std::set<RequestId> owed;
    bool last;
    {
      std::scoped_lock lock(mutex_);
      if (closed_) return;  // the destructor reaps it
      child_.reset();
      owed.swap(pending_);
      held_.clear();
      renewing_ = false;
      last = given_up_ = restarts_++ >= options_.max_restarts;
      last_end_ = fmt::format("the server {} ended", command_[0]);
    }
    const pid_t pid = child->pid;
    child->transport->close();
    child.reset();
    const std::string how = end_child(pid, options_.patience);
    std::scoped_lock lock(mutex_);
    last_end_ = fmt::format("the server {} {}", command_[0], how);
    if (last && restarts_ > 1)
      last_end_ += fmt::format(", {} times in a row without an answer", restarts_);
    for (const RequestId& id : owed)
      failed_.push_back(
          make_error(id, {static_cast<ErrorCode>(kPeerRestarts),
                          last_end_ + (last ? "" : "; the next request starts it again")}));
    changed_.notify_all();
  }

  const std::vector<std::string> command_;
  const ProcessOptions options_;
  std::function<void()> renewed_;

  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::shared_ptr<Child> child_;  // null between its end and the next message
  std::set<RequestId> pending_;   // requests whose answer has not come
  std::deque<std::string> failed_;
  std::vector<std::string> held_;  // until the child is initialized again
  std::string initialize_, version_, last_end_;
  RequestId initialize_id_;
  int restarts_ = 0;  // ends since the last answer
  bool closed_ = false, given_up_ = false, renewing_ = false;
};

}  // namespace

Result<std::unique_ptr<Transport>> make_process_transport(std::vector<std::string> command,
                                                          ProcessOptions options) {
  if (command.empty() || command[0].empty())
    return fail(ErrorCode::invalid_params, "no command to start a server with");
  auto child = start_child(command, options);
  if (!child) return tl::unexpected(std::move(child.error()));
  return std::make_unique<ProcessTransport>(std::move(command), std::move(options),
                                            std::move(*child));
}

}  // namespace gpumcp::mcp
