#include "mcp/server.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <list>
#include <shared_mutex>
#include <thread>

#include "mcp/call.h"
#include "mcp/exit_watch.h"
#include "mcp/server_impl.h"
#include "mcp/session.h"

namespace gpumcp::mcp {

// The sink of a peer with one stream for everything. Calls that outlive the stream write into
// nothing.
class StreamSink final : public ReplySink {
 public:
  explicit StreamSink(Transport& transport) : transport_(&transport) {}
  void notify(std::string message) override { write(message); }
  void respond(std::string message, std::optional<ErrorCode>) override { write(message); }

  // Returns when nothing is being written any more. A transport whose write() waits for its peer is
  // closed.
  void detach() {
    std::unique_lock lock(mutex_, std::defer_lock);
    if (!lock.try_lock_for(std::chrono::milliseconds(100))) {
      transport_->close();
      lock.lock();
    }
    transport_ = nullptr;
  }

  // Sends what was gathered, as far as the peer takes it now.
  void flush() {
    std::shared_lock lock(mutex_);
    if (transport_) transport_->flush(std::chrono::milliseconds(0));
  }

  // While it exists, what this thread writes goes out together with the answers to the messages
  // that have come already: the thread reads on when it has served this one.
  class Gathering {
   public:
    explicit Gathering(const StreamSink* sink) { gathered = sink; }
    ~Gathering() { gathered = nullptr; }
    Gathering(const Gathering&) = delete;
    Gathering& operator=(const Gathering&) = delete;
  };

 private:
  void write(std::string_view message) {
    std::shared_lock lock(mutex_);  // shared: the transport combines what several threads write
    if (!transport_) return;
    if (gathered != this || StandIns::given_away()) return (void)transport_->write(message);
    (void)transport_->write_soon(message);
    // Another thread may have begun to read meanwhile, and wait already. It has looked for what was
    // gathered, under the transport's lock: if that was before, what is asked here is known.
    if (StandIns::given_away()) transport_->flush(std::chrono::milliseconds(0));
  }

  static thread_local const StreamSink* gathered;
  std::shared_timed_mutex mutex_;
  Transport* transport_;
};
thread_local const StreamSink* StreamSink::gathered = nullptr;

namespace {

// The reading of one peer's messages, a duty that goes from thread to thread: the thread that waits
// in serve() begins it, a stand-in takes it over when there are quick handlers to run, and others
// while one of those does not return. Such a handler may outlast serve(), and the transport: its
// thread keeps this object, and reaches the transport by the sink only.
class Reading final : public std::enable_shared_from_this<Reading> {
 public:
  Reading(StandIns& stand_ins, Transport& transport, std::shared_ptr<Session> session,
          std::shared_ptr<StreamSink> sink)
      : stand_ins_(stand_ins),
        transport_(transport),
        session_(std::move(session)),
        sink_(std::move(sink)) {}

  // Returns when the peer has closed, or the transport was closed.
  void run() {
    read(false);
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_; });
  }

 private:
  // The thread of serve() runs no handlers: whoever called it may count on its return.
  void read(bool stands_in) {
    StandIns::Duty duty{.perform = [self = shared_from_this()] { self->read(true); },
                        .movable = stands_in};
    while (true) {
      auto text = transport_.read();
      if (!text && text.error().code == ErrorCode::invalid_request) {
        sink_->respond(make_error({}, text.error(), session_->legacy_version().has_value()),
                       text.error().code);
        continue;
      }
      if (!text) fmt::print(stderr, "mcp: {}\n", text.error().message);
      if (!text || !*text) break;
      {
        StreamSink::Gathering gathering(transport_.has_message() ? sink_.get() : nullptr);
        session_->receive(std::move(**text), sink_, nullptr, &duty);
      }
      if (duty.given_away) return sink_->flush();
      if (std::exchange(duty.missed, false) && stand_ins_.start(duty)) return;
    }
    std::scoped_lock lock(mutex_);
    ended_ = true;
    changed_.notify_all();
  }

  StandIns& stand_ins_;
  Transport& transport_;
  const std::shared_ptr<Session> session_;
  const std::shared_ptr<StreamSink> sink_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  bool ended_ = false;
};

// Peers beyond the limit: they get an error that names no request, since none is read, and the end
// of what we say. Some are left open for a while: who writes before it reads would miss the error.
class TurnedAway {
 public:
  TurnedAway() = default;
  ~TurnedAway() {
    for (const int fd : open_) ::close(fd);
  }
  TurnedAway(const TurnedAway&) = delete;
  TurnedAway& operator=(const TurnedAway&) = delete;

  void take(int fd, size_t limit) {
    const std::string message =
        make_error({}, {ErrorCode::internal_error,
                        fmt::format("busy: {} clients are connected, the limit of this server "
                                    "(max_peers); retry when one has left",
                                    limit)}) +
        "\n";
    (void)send(fd, message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    ::shutdown(fd, SHUT_WR);
    open_.push_back(fd);
    if (open_.size() <= kMaxOpen) return;
    ::close(open_.front());
    open_.pop_front();
  }

 private:
  static constexpr size_t kMaxOpen = 16;
  std::deque<int> open_;
};

}  // namespace

void Server::Impl::call_began() {
  ++calls;
  last_activity = std::chrono::steady_clock::now();
}

void Server::Impl::call_abandoned(const void* call) {
  {
    std::scoped_lock lock(abandoned_mutex);
    abandoned.emplace(call, std::chrono::steady_clock::now());
  }
  changed();
}

void Server::Impl::changed() {
  std::scoped_lock lock(change_mutex);
  if (!gone && options.on_change) options.on_change();
}

void Server::Impl::call_ended(const void* call) {
  {
    std::scoped_lock lock(abandoned_mutex);
    abandoned.erase(call);
  }
  last_activity = std::chrono::steady_clock::now();
  if (--calls != 0) return;
  if (draining) {
    std::scoped_lock lock(drain_mutex);
    drained.notify_all();
  }
  changed();
}

Server::Impl::Impl(ServerOptions o)
    : options(std::move(o)),
      info_member(server_info_member(info())),
      nobody(std::make_shared<const Asker>(
          Asker{.version = std::string(kLatestLegacyVersion), .log_level = LogLevel::info})),
      sealer(options.state_secret),
      subscriptions(options.max_subscriptions),
      tasks({.max_tasks = options.max_tasks}),
      stop_fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      pool({.max_threads = options.max_running_calls, .max_queued = options.max_queued_calls}) {}

Server::Impl::~Impl() { ::close(stop_fd); }

Server::Server(ServerOptions options) : impl_(std::make_shared<Impl>(std::move(options))) {}

Server::~Server() {
  stop();
  impl_->pool.stop();         // waits for the handlers
  impl_->stand_ins.stop();    // and for those that run where a peer's messages are read
  impl_->exit_watch.reset();  // until here it may end the process
  std::scoped_lock lock(impl_->change_mutex);
  impl_->gone = true;
}

void Server::serve(Transport& transport) {
  auto session = make_session();
  auto sink = std::make_shared<StreamSink>(transport);
  session->attach(sink);
  {
    std::scoped_lock lock(impl_->transports_mutex);
    impl_->transports.emplace(&transport, sink);
  }
  if (impl_->stopped) transport.close();
  std::make_shared<Reading>(impl_->stand_ins, transport, session, sink)->run();
  if (!impl_->stopped) {
    // The peer may have closed its side alone: what it asked for is still answered.
    const auto drain = impl_->options.drain;
    const auto deadline = std::chrono::steady_clock::now() + drain;
    while (!session->wait_idle(std::min(std::chrono::milliseconds(20), drain)) &&
           std::chrono::steady_clock::now() < deadline)
      transport.flush(std::chrono::milliseconds(0));
    transport.flush(drain);
  }
  session->attach(nullptr);
  sink->detach();  // first: it frees a call that waits for a peer that does not read
  session->cancel_all();
  std::scoped_lock lock(impl_->transports_mutex);
  impl_->transports.erase(&transport);
}

int Server::serve_stdio() {
  auto transport = take_stdio({.max_message_bytes = impl_->options.max_message_bytes,
                               .max_unread_bytes = impl_->options.max_unread_bytes});
  if (!transport) {
    fmt::print(stderr, "{}\n", transport.error().message);
    return 1;
  }
  // It waits for shut_down() to use its time up, and a little longer.
  impl_->exit_watch = std::make_unique<ExitWatch>(
      [this] { shut_down(); },
      ExitWatchOptions{.parent = true,
                       .grace = impl_->options.drain + std::chrono::milliseconds(100)});
  serve(**transport);
  impl_->exit_watch
      ->leave_soon();  // a handler that ignores its cancellation must not hold the process
  return 0;
}

void Server::serve_listener(int listen_fd) {
  struct Peer {
    std::thread thread;
    std::atomic<bool> done = false;
  };
  std::list<Peer> peers;
  TurnedAway turned_away;
  while (!impl_->stopped) {
    pollfd fds[2] = {{listen_fd, POLLIN, 0}, {impl_->stop_fd, POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) continue;
    if (fds[1].revents) break;
    const int fd = accept4(listen_fd, nullptr, nullptr, SOCK_CLOEXEC);
    peers.remove_if([](Peer& peer) {
      if (!peer.done) return false;
      peer.thread.join();
      return true;
    });
    if (fd < 0) {
      // Out of descriptors or memory: the peer stays in the backlog until something is free.
      if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
        poll(&fds[1], 1, 100);
      continue;
    }
    if (peers.size() >= impl_->options.max_peers) {
      turned_away.take(fd, impl_->options.max_peers);
      continue;
    }
    Peer& peer = peers.emplace_back();
    try {
      peer.thread = std::thread([this, fd, &peer] {
        auto transport = make_line_transport(fd, fd,
                                             {.max_message_bytes = impl_->options.max_message_bytes,
                                              .max_unread_bytes = impl_->options.max_unread_bytes});
        serve(*transport);
        transport.reset();
        peer.done = true;
      });
    } catch (const std::system_error&) {  // no more threads: this peer is turned away
      ::close(fd);
      peers.pop_back();
    }
  }
  for (Peer& peer : peers) peer.thread.join();
}

void Server::stop() { stop_by(std::chrono::steady_clock::now() + impl_->options.drain); }

void Server::stop_by(std::chrono::steady_clock::time_point deadline) {
  const bool first = !impl_->stopped.exchange(true);
  impl_->subscriptions.end_all();
  impl_->tasks.cancel_all();
  const uint64_t one = 1;
  [[maybe_unused]] auto n = ::write(impl_->stop_fd, &one, sizeof one);
  std::scoped_lock lock(impl_->transports_mutex);
  // What was written before still goes out, if its peer reads.
  for (auto& [transport, sink] : impl_->transports) {
    const auto left = deadline - std::chrono::steady_clock::now();
    if (first) transport->flush(std::max(std::chrono::ceil<std::chrono::milliseconds>(left), {}));
    transport->close();
  }
}

void Server::shut_down() {
  drain();
  const auto deadline = std::chrono::steady_clock::now() + impl_->options.drain;
  {
    std::unique_lock lock(impl_->drain_mutex);
    impl_->drained.wait_until(lock, deadline, [&] { return impl_->calls == 0; });
  }
  stop_by(deadline);
}

bool Server::stopped() const { return impl_->stopped; }
void Server::add_method(std::string name,
                        std::function<Result<std::string>(std::string_view)> method) {
  impl_->methods[std::move(name)] = std::move(method);
}

void Server::notify_all(std::string_view method, std::string_view params) {
  impl_->subscriptions.broadcast(method, params);
}

void Server::drain() { impl_->draining = true; }
bool Server::draining() const { return impl_->draining; }

std::optional<std::chrono::steady_clock::time_point> Server::oldest_abandoned() const {
  std::scoped_lock lock(impl_->abandoned_mutex);
  std::optional<std::chrono::steady_clock::time_point> oldest;
  for (auto& [call, since] : impl_->abandoned) oldest = oldest ? std::min(*oldest, since) : since;
  return oldest;
}

size_t Server::abandoned_before(std::chrono::steady_clock::time_point when) const {
  std::scoped_lock lock(impl_->abandoned_mutex);
  return static_cast<size_t>(std::count_if(impl_->abandoned.begin(), impl_->abandoned.end(),
                                           [&](const auto& one) { return one.second <= when; }));
}

std::chrono::steady_clock::time_point Server::last_activity() const { return impl_->last_activity; }
size_t Server::calls_in_flight() const { return impl_->calls; }
size_t Server::connections() const { return impl_->connections; }
const ServerOptions& Server::options() const { return impl_->options; }
std::shared_ptr<Session> Server::make_session() { return std::make_shared<Session>(impl_); }

}  // namespace gpumcp::mcp
