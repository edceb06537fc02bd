// The endpoint of Streamable HTTP: what happens to one request once its head has been read.
// Stateless and thread-safe; each connection's thread calls serve(). Private to mcp.
#pragma once

#include "mcp/http_exchange.h"
#include "mcp/http_server.h"

namespace gpumcp::mcp {

class HttpEndpoint {
 public:
  HttpEndpoint(Server& server, const HttpOptions& options, HttpGuard guard);

  // Reads the body if there is one to read, and answers. True: the connection is fit for another
  // request.
  bool serve(HttpConnection& connection, const HttpHead& head) const;
  // The answer to a request that could not be read: closes.
  static void refuse(HttpConnection& connection, int status, std::string_view why = {});

 private:
  bool post(HttpConnection& connection, const HttpHead& head) const;
  bool post_batch(HttpConnection& connection, const HttpHead& head, const std::string& body,
                  const std::shared_ptr<HttpExchange>& exchange) const;
  bool get(HttpConnection& connection, const HttpHead& head) const;
  // A short answer without JSON-RPC, its unread body discarded with the connection.
  bool reply(HttpConnection& connection, const HttpHead& head, HttpReply reply) const;
  // The same with a JSON-RPC error without id.
  bool reply_error(HttpConnection& connection, const HttpHead& head, int status, const Error& error,
                   HttpHeaders headers = {}) const;

  Server& server_;
  const HttpOptions& options_;
  const HttpGuard guard_;
};

}  // namespace gpumcp::mcp
