// One thread accepts; each connection has a thread of its own as long as it lives, from a pool that
// grows and shrinks. Our own listener and not cpp-httplib's: of that only resolving, binding and
// the accept loop could be used, and it brings libssl, brotli and zlib into every server, which
// doubles the time until a stdio server of the same program answers.
#include "mcp/http_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <memory>
#include <set>

#include "mcp/http_endpoint.h"
#include "mcp/server_impl.h"
#include "mcp/thread_pool.h"

namespace gpumcp::mcp {
namespace {

// Connections that wait to be accepted; few would make clients wait a second in a burst.
constexpr int kBacklog = 1024;

// A listening socket on the first address of `host` that takes it; -1: errno, or 0 for a host that
// is not known.
int listen_on(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  errno = 0;
  if (getaddrinfo(host.c_str(), fmt::to_string(port).c_str(), &hints, &found) != 0) {
    errno = 0;
    return -1;
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> addresses(found, freeaddrinfo);
  int error = 0;
  for (const addrinfo* one = found; one; one = one->ai_next) {
    const int fd = socket(one->ai_family, one->ai_socktype | SOCK_CLOEXEC, one->ai_protocol);
    // SO_REUSEADDR only lets a restart pass connections that are still closing; SO_REUSEPORT would
    // let a second server take half of the connections.
    const int on = 1;
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        bind(fd, one->ai_addr, one->ai_addrlen) == 0 && listen(fd, kBacklog) == 0)
      return fd;
    error = errno;
    if (fd >= 0) ::close(fd);
  }
  errno = error;
  return -1;
}

int port_of(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6
                   ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                   : reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

std::string host_in_url(const std::string& host) {
  return host.find(':') == host.npos ? host : fmt::format("[{}]", host);
}

}  // namespace

class HttpServer::Impl final {
 public:
  Impl(mcp::Server& server, HttpOptions options) : server_(server), options_(std::move(options)) {
    if (options_.host.starts_with('[') && options_.host.ends_with(']'))
      options_.host = options_.host.substr(1, options_.host.size() - 2);
    limits_ = {options_.max_head_bytes, options_.max_headers, server_.options().max_message_bytes,
               options_.max_bodies_bytes};
    stop_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  }

  ~Impl() {
    if (listen_fd_ >= 0) ::close(listen_fd_);
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
    listen_fd_ = listen_on(options_.host, options_.port);
    const int error = errno;
    if (listen_fd_ < 0)
      return fail(ErrorCode::io_error,
                  fmt::format("cannot listen on {}:{}: {}; take another port, or 0 for a free one",
                              options_.host, options_.port,
                              error ? std::strerror(error) : "the host is not known"));
    // A connection that has gone again must not hold up the accepting thread.
    fcntl(listen_fd_, F_SETFL, fcntl(listen_fd_, F_GETFL) | O_NONBLOCK);
    port_ = port_of(listen_fd_);
    endpoint_.emplace(server_, options_,
                      HttpGuard{options_.host, static_cast<uint16_t>(port_), options_.allowed_hosts,
                                options_.allowed_origins, options_.token});
    return {};
  }

  void serve() {
    ThreadPool threads({.max_threads = options_.max_connections, .max_queued = 0});
    pollfd fds[3] = {
        {listen_fd_, POLLIN, 0}, {server_.impl().stop_fd, POLLIN, 0}, {stop_fd_, POLLIN, 0}};
    while (!shared_.stopping) {
      if (poll(fds, 3, -1) < 0) continue;
      if (fds[1].revents || fds[2].revents) break;
      const int fd = accept4(listen_fd_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0) {
        if (!threads.submit([this, fd] { serve_socket(fd); })) turn_away(fd);
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        poll(&fds[1], 2, 100);  // the peer stays in the backlog until something is free
      }
    }
    stop_all();
    // Not closed before: its number may be another's by then. New peers are refused from here on.
    ::shutdown(listen_fd_, SHUT_RDWR);
  }

  void stop_all() {
    std::scoped_lock lock(mutex_);
    if (shared_.stopping.exchange(true)) return;
    const uint64_t one = 1;
    [[maybe_unused]] auto n = ::write(stop_fd_, &one, sizeof one);
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
  // By the accepting thread, when there is no thread for a connection.
  void turn_away(int fd) {
    HttpConnection connection(fd, limits_, options_.timeouts, shared_);
    const std::string body = "too many connections\n";
    connection.write(response_head(503, "text/plain", body.size(), false, {{"Retry-After", "1"}}),
                     body);
    ::shutdown(fd, SHUT_WR);
    char request[4096];  // what came already is read, or closing would reset the connection
                         // before 503 is seen
    [[maybe_unused]] auto n = ::recv(fd, request, sizeof request, MSG_DONTWAIT);
  }

  void serve_socket(int fd) {
    HttpConnection connection(fd, limits_, options_.timeouts, shared_);
    if (connection.wake_fd() < 0) return;
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
  int port_ = 0, listen_fd_ = -1, stop_fd_ = -1;
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
