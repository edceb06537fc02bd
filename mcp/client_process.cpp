#include "mcp/client_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <set>

#include "mcp/json_members.h"
#include "mcp/message.h"

extern char** environ;

namespace gpumcp::mcp {
namespace {

const RequestId kRenewal = {"\"gpumcp-renewed\""};

// A running server. Whoever lets it go last closes its pipes; end() reaps it.
struct Child {
  pid_t pid = 0;
  std::unique_ptr<Transport> transport;
};

struct FileActions {
  FileActions() { posix_spawn_file_actions_init(&actions); }
  ~FileActions() { posix_spawn_file_actions_destroy(&actions); }
  posix_spawn_file_actions_t actions;
};

struct SpawnAttributes {
  SpawnAttributes() {
    // What this program ignores or holds back is its own affair.
    posix_spawnattr_init(&attributes);
    sigset_t set;
    sigemptyset(&set);
    posix_spawnattr_setsigmask(&attributes, &set);
    sigaddset(&set, SIGPIPE);
    posix_spawnattr_setsigdefault(&attributes, &set);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnAttributes() { posix_spawnattr_destroy(&attributes); }
  posix_spawnattr_t attributes;
};

std::vector<std::string> environment_with(const std::map<std::string, std::string>& changes) {
  std::vector<std::string> out;
  for (char** one = environ; one && *one; ++one) {
    const std::string_view entry = *one;
    if (!changes.contains(std::string(entry.substr(0, entry.find('='))))) out.emplace_back(entry);
  }
  for (const auto& [name, value] : changes)
    if (!value.empty()) out.push_back(name + "=" + value);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> out;
  for (std::string& text : texts) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

Result<std::shared_ptr<Child>> spawn(std::vector<std::string> command,
                                     const ProcessOptions& options) {
  int to_child[2], from_child[2];
  if (pipe2(to_child, O_CLOEXEC) != 0)
    return fail(ErrorCode::io_error, fmt::format("no pipe: {}", std::strerror(errno)));
  if (pipe2(from_child, O_CLOEXEC) != 0) {
    const int error = errno;
    ::close(to_child[0]);
    ::close(to_child[1]);
    return fail(ErrorCode::io_error, fmt::format("no pipe: {}", std::strerror(error)));
  }
  FileActions files;
  posix_spawn_file_actions_adddup2(&files.actions, to_child[0], 0);
  posix_spawn_file_actions_adddup2(&files.actions, from_child[1], 1);
  if (!options.folder.empty())
    posix_spawn_file_actions_addchdir_np(&files.actions, options.folder.c_str());
  SpawnAttributes attributes;
  auto environment = environment_with(options.environment);
  auto child = std::make_shared<Child>();
  const int error =
      posix_spawnp(&child->pid, command[0].c_str(), &files.actions, &attributes.attributes,
                   pointers(command).data(), pointers(environment).data());
  ::close(to_child[0]);
  ::close(from_child[1]);
  if (error) {
    ::close(to_child[1]);
    ::close(from_child[0]);
    return fail(ErrorCode::io_error,
                fmt::format("cannot start {}: {}", command[0], std::strerror(error)));
  }
  child->transport = make_line_transport(from_child[0], to_child[1],
                                         {.max_message_bytes = options.max_message_bytes});
  return child;
}

bool ended_within(pid_t pid, std::chrono::milliseconds time) {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (fd < 0) return false;
  pollfd one = {fd, POLLIN, 0};
  int ready;
  do ready = poll(&one, 1, static_cast<int>(time.count()));
  while (ready < 0 && errno == EINTR);
  ::close(fd);
  return ready > 0;
}

// How it ended, in words. Its stdin is closed already.
std::string reap(pid_t pid, std::chrono::milliseconds patience) {
  if (!ended_within(pid, patience)) {
    kill(pid, SIGTERM);
    if (!ended_within(pid, patience)) kill(pid, SIGKILL);
  }
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status))
    return fmt::format("was ended by signal {} ({})", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
  return fmt::format("ended with exit status {}", WEXITSTATUS(status));
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
    if (pid) reap(pid, options_.patience);
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
        if (closed_ || (given_up_ && !child_)) return std::optional<std::string>();
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
        auto started = spawn(command_, options_);
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
    const std::string how = reap(pid, options_.patience);
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
  auto child = spawn(command, options);
  if (!child) return tl::unexpected(std::move(child.error()));
  return std::make_unique<ProcessTransport>(std::move(command), std::move(options),
                                            std::move(*child));
}

}  // namespace gpumcp::mcp
