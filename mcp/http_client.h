// The client's side of Streamable HTTP, as a Transport for mcp::Client: every message is a POST of
// its own, on a pool of threads and kept-alive connections; answers, plain or streamed, queue up
// for read(). Thread-safe as Transport says. Failures of one POST become the error of its request
// and leave the transport open: its code is the HTTP status where the server refused (401, 403,
// 5xx), kHttpFailed where no usable response came.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mcp/line_transport.h"
#include "mcp/transport.h"

namespace gpumcp::mcp {

inline constexpr int kHttpFailed = 599;

struct HttpClientOptions {
  std::string token = {};  // bearer; empty: none
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(10);
  std::chrono::milliseconds read_timeout =
      std::chrono::minutes(15);  // of silence; calls have their own limits
  size_t max_message_bytes = kMaxMessageBytes;
  size_t max_requests = 256;  // at once
};

// `url`: http://host[:port]/path, and https:// where cpp-httplib was built with OpenSSL. Error
// invalid_params: it is none of these. Connects with the first message.
Result<std::unique_ptr<Transport>> make_http_transport(const std::string& url,
                                                       HttpClientOptions options = {});

}  // namespace gpumcp::mcp
