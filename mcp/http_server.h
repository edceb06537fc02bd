// HttpServer: Streamable HTTP for a Server, both eras on one endpoint (spec: basic/transports,
// streamable-http).
//
//   POST /mcp     one message in, JSON or an event stream out (mcp/http_exchange.h)
//   GET, DELETE /mcp   up to 2025-11-25: a session's own stream, or the rest of a broken one; its
//   end GET /sse, POST /messages   the two endpoints of 2024-11-05 (HTTP+SSE) GET /healthz  "ok";
//   GET /readyz; GET of what options.get adds; everything else is refused
//
// Host, Origin and token are checked before a body is read. Each connection has a thread, at most
// max_connections of them, so open streams never keep others waiting. `initialize` begins a session
// (mcp/http_sessions.h); requests of the older versions that name none are served without one, as
// hosts expect that ignore Mcp-Session-Id. listen() and its failures come first, then serve() on a
// thread of the caller's choice; stop() from any thread, or the Server's stop(), ends it. The
// Server must outlive it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "mcp/http_connection.h"
#include "mcp/http_limits.h"
#include "mcp/server.h"

namespace gpumcp::mcp {

struct HttpReply {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body = {};
  HttpHeaders headers = {};
};
using HttpHandler = std::function<HttpReply(const HttpHead& request)>;

struct HttpOptions {
  std::string host = "127.0.0.1";  // a name or an address; beyond loopback a token is needed
  int port = 0;                    // 0 picks a free one
  std::string path = "/mcp";
  std::string sse_path = "/sse", messages_path = "/messages";  // empty: none
  // affect safety
  std::vector<std::string> allowed_hosts = {};    // besides loopback names and `host`
  std::vector<std::string> allowed_origins = {};  // scheme://host[:port], besides the server's own
  std::string token = {};                         // bearer; empty: none
  size_t max_connections = 2000;                  // more are answered 503
  size_t max_head_bytes = 32 << 10;
  size_t max_headers = 100;
  size_t max_bodies_bytes = 256u << 20;  // of all requests at one time; more are answered 503
  // That wait for clients to read them, of all at one time; beyond it who adds to them is cut off.
  size_t max_unread_bytes = 256u << 20;
  HttpTimeouts timeouts = {};
  HttpSessionLimits sessions = {};
  bool require_session = false;  // 400 to requests of the older versions that name no session
  // affect streaming
  std::chrono::milliseconds stream_after =
      std::chrono::seconds(5);  // of silence: hosts wait 60 s for a head
  std::chrono::milliseconds comment_every = std::chrono::seconds(15);
  // GET /readyz: 200 unless the object says "ready": false, then 503. Empty: always ready. A server
  // that drains is not.
  std::function<Json()> ready = {};
  // Further GET paths. One that ends in '/' serves everything below it. The token is checked,
  // unless `open`.
  struct Get {
    std::string path;
    HttpHandler handler;
    bool open = false;
  };
  std::vector<Get> get = {};
};

class HttpServer {
 public:
  // Errors name the address and the remedy: the port is taken, a token is missing.
  static Result<std::unique_ptr<HttpServer>> listen(Server& server, HttpOptions options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  std::string url() const;  // http://HOST:PORT/mcp
  // Blocks until stop(). Returns when all connections have ended.
  void serve();
  void stop();
  size_t connections() const;
  size_t sessions() const;

  class Impl;

 private:
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace gpumcp::mcp
