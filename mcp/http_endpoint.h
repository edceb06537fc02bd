// The endpoint of Streamable HTTP: what happens to one request once its head has been read.
// Thread-safe; each connection's thread calls serve(). Private to mcp.
#pragma once

#include "mcp/http_exchange.h"
#include "mcp/http_server.h"
#include "mcp/http_sessions.h"

namespace gpumcp::mcp {

class HttpEndpoint {
 public:
  HttpEndpoint(Server& server, const HttpOptions& options, HttpGuard guard);

  // Reads the body if there is one to read, and answers. True: the connection is fit for another
  // request.
  bool serve(HttpConnection& connection, const HttpHead& head) const;
  // The answer to a request that could not be read: closes.
  static void refuse(HttpConnection& connection, int status, std::string_view why = {});
  size_t sessions() const { return sessions_.size(); }

 private:
  // Whose request it is, as far as HTTP tells: never the token itself.
  static std::string principal_of(const HttpHead& head);
  std::shared_ptr<HttpExchange> make_exchange(HttpConnection& connection, const HttpHead& head,
                                              bool held) const;
  // False: it could not be read, and was refused.
  bool read_json(HttpConnection& connection, const HttpHead& head, std::string& body) const;
  bool no_such_session(HttpConnection& connection, const HttpHead& head) const;
  std::shared_ptr<HttpSession> named_session(HttpConnection& connection, const HttpHead& head,
                                             bool& fit) const;
  bool get_stream(HttpConnection& connection, const HttpHead& head) const;
  bool end_session(HttpConnection& connection, const HttpHead& head) const;
  bool open_pair(HttpConnection& connection, const HttpHead& head) const;
  bool post_pair(HttpConnection& connection, const HttpHead& head) const;
  bool post(HttpConnection& connection, const HttpHead& head) const;
  bool get(HttpConnection& connection, const HttpHead& head) const;
  // A short answer without JSON-RPC, its unread body discarded with the connection.
  bool reply(HttpConnection& connection, const HttpHead& head, HttpReply reply) const;
  // The same with a JSON-RPC error without id.
  bool reply_error(HttpConnection& connection, const HttpHead& head, int status, const Error& error,
                   HttpHeaders headers = {}) const;

  Server& server_;
  const HttpOptions& options_;
  const HttpGuard guard_;
  mutable HttpSessions sessions_;
};

}  // namespace gpumcp::mcp
