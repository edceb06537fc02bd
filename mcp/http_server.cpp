// Built on cpp-httplib's Server for what it does well and in all its versions alike: resolving,
// binding, the accept loop and the task queue. The connection itself is ours, through its one
// extension point process_and_close_socket(): httplib's reads an over-long body to its end, leaves
// the body of a refused request to be parsed as the next one, limits no header count, polls idle
// connections every 10 ms with select(), and hides the socket whose hang-up cancels a call.
#include "mcp/http_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <httplib.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <set>
#include <thread>

#include "mcp/http_endpoint.h"
#include "mcp/server_impl.h"
#include "mcp/thread_pool.h"

namespace gpumcp::mcp {
namespace {

// Set while the accepting thread runs a connection itself, because there is no thread for it.
thread_local bool overloaded = false;

// A thread for each connection, as long as it lives; no queue behind them.
class ConnectionQueue final : public httplib::TaskQueue {
 public:
  using Enqueued =
      decltype(std::declval<httplib::TaskQueue&>().enqueue(nullptr));  // void before 0.14

  explicit ConnectionQueue(size_t max_threads)
      : pool_(std::make_unique<ThreadPool>(
            ThreadPoolOptions{.max_threads = max_threads, .max_queued = 0})) {}

  Enqueued enqueue(std::function<void()> task) override {
    if (!pool_->submit(task)) {
      overloaded = true;
      task();
      overloaded = false;
    }
    return static_cast<Enqueued>(true);
  }
  void shutdown() override { pool_.reset(); }

 private:
  std::unique_ptr<ThreadPool> pool_;
};

std::string host_in_url(const std::string& host) {
  return host.find(':') == host.npos ? host : fmt::format("[{}]", host);
}

}  // namespace

class HttpServer::Impl final : public httplib::Server {
 public:
  Impl(mcp::Server& server, HttpOptions options) : server_(server), options_(std::move(options)) {
    if (options_.host.starts_with('[') && options_.host.ends_with(']'))
      options_.host = options_.host.substr(1, options_.host.size() - 2);
    limits_ = {options_.max_head_bytes, options_.max_headers, server_.options().max_message_bytes,
               options_.max_bodies_bytes, options_.max_unread_bytes};
    new_task_queue = [this] { return new ConnectionQueue(options_.max_connections); };
    stop_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  }

  ~Impl() override {
    if (const int fd = svr_sock_.exchange(INVALID_SOCKET); fd != INVALID_SOCKET) ::close(fd);
    ::close(stop_fd_);
  }

  mcp::Result<void> bind() {
    if (options_.port < 0 || options_.port > 65535)
      return fail(ErrorCode::io_error, fmt::format("port {} is not in 0 to 65535", options_.port));
    if (!is_loopback_host(options_.host) && options_.token.empty())
      return fail(ErrorCode::io_error, fmt::format("listening on {} would let the network in: give "
                                                   "a token with --token-file FILE, or listen "
                                                   "on 127.0.0.1",
                                                   options_.host));
    int listener = -1;
    set_socket_options([&](socket_t fd) {
      // Not SO_REUSEPORT, which is httplib's default and lets a second server take half of the
      // connections. SO_REUSEADDR only lets a restart pass connections that are still closing.
      const int on = 1;
      setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
      fcntl(fd, F_SETFD, FD_CLOEXEC);
      listener = fd;
    });
    errno = 0;
    if (options_.port == 0) {
      port_ = bind_to_any_port(options_.host);
    } else if (bind_to_port(options_.host, options_.port)) {
      port_ = options_.port;
    }
    const int error = errno;
    set_socket_options([](socket_t) {});
    if (port_ <= 0)
      return fail(ErrorCode::io_error,
                  fmt::format("cannot listen on {}:{}: {}; take another port, or 0 for a free one",
                              options_.host, options_.port,
                              error ? std::strerror(error) : "the host is not known"));
    ::listen(listener, 1024);  // httplib's backlog of 5 makes clients wait a second for the sixth
    endpoint_.emplace(server_, options_,
                      HttpGuard{options_.host, static_cast<uint16_t>(port_), options_.allowed_hosts,
                                options_.allowed_origins, options_.token});
    return {};
  }

  void serve() {
    std::thread watch([this] {
      pollfd fds[2] = {{server_.impl().stop_fd, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
      while (poll(fds, 2, -1) < 0 && errno == EINTR) {
      }
      stop_all();
    });
    if (!shared_.stopping) {
      listen_after_bind();
      svr_sock_ =
          INVALID_SOCKET;  // httplib has closed it when accept() failed, and keeps the number
    }
    stop_all();
    watch.join();
  }

  void stop_all() {
    std::scoped_lock lock(mutex_);
    if (shared_.stopping.exchange(true)) return;
    const uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(stop_fd_, &one, sizeof one);
    // Not closed here: accept() may be using the number. It fails, and httplib closes it.
    if (const int fd = svr_sock_; fd != INVALID_SOCKET) ::shutdown(fd, SHUT_RDWR);
    for (HttpConnection* connection : connections_) connection->wake();
  }

  int bound_port() const { return port_; }
  size_t sessions() const { return endpoint_->sessions(); }
  std::string url() const {
    return fmt::format("http://{}:{}{}", host_in_url(options_.host), port_, options_.path);
  }
  size_t connections() const {
    std::scoped_lock lock(mutex_);
    return connections_.size();
  }

 private:
  bool process_and_close_socket(socket_t fd) override {
    HttpConnection connection(fd, limits_, options_.timeouts, shared_);
    if (overloaded || connection.wake_fd() < 0) {
      const std::string body = "too many connections\n";
      const bool sent = connection.write(
          response_head(503, "text/plain", body.size(), false, {{"Retry-After", "1"}}), body);
      ::shutdown(fd, SHUT_WR);
      char request[4096];  // what came already is read, or closing would reset the connection
                           // before 503 is seen
      [[maybe_unused]] auto n = ::recv(fd, request, sizeof request, MSG_DONTWAIT);
      return sent;
    }
    {
      std::scoped_lock lock(mutex_);
      connections_.insert(&connection);
    }
    try {
      serve_connection(connection);
    } catch (const std::exception& e) {
      fmt::print(stderr, "http: a connection ended: {}\n", e.what());
    }
    std::scoped_lock lock(mutex_);
    connections_.erase(&connection);
    return true;
  }

  void serve_connection(HttpConnection& connection) {
    HttpHead head;
    while (!shared_.stopping) {
      if (const int status = connection.read_head(head)) {
        if (status > 0) HttpEndpoint::refuse(connection, status);
        return;
      }
      if (!endpoint_->serve(connection, head)) return;
    }
  }

  mcp::Server& server_;
  HttpOptions options_;
  HttpLimits limits_;
  std::optional<HttpEndpoint> endpoint_;
  int port_ = 0, stop_fd_ = -1;
  HttpConnection::Shared shared_;
  mutable std::mutex mutex_;  // guards what follows
  std::set<HttpConnection*> connections_;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { impl_->stop_all(); }

Result<std::unique_ptr<HttpServer>> HttpServer::listen(Server& server, HttpOptions options) {
  auto impl = std::make_unique<Impl>(server, std::move(options));
  if (auto bound = impl->bind(); !bound) return tl::unexpected(std::move(bound.error()));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

int HttpServer::port() const { return impl_->bound_port(); }
std::string HttpServer::url() const { return impl_->url(); }
void HttpServer::serve() { impl_->serve(); }
void HttpServer::stop() { impl_->stop_all(); }
size_t HttpServer::sessions() const { return impl_->sessions(); }
size_t HttpServer::connections() const { return impl_->connections(); }

}  // namespace gpumcp::mcp
