// HTTP/1.1 as a server reads and writes it: the request head, the chunked body, the response head.
// Pure and thread-safe as values are; sockets are elsewhere, so that tests can feed any split of
// bytes. Strict on purpose (RFC 9112): what two parsers could read differently is refused, not
// repaired.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gpumcp::mcp {

struct HttpLimits {
  size_t head_bytes = 32 << 10;
  size_t headers = 100;
  size_t body_bytes = 8u << 20;
  size_t bodies_bytes = 256u << 20;  // of all requests that are read or served at one time
  size_t unread_bytes = 256u << 20;  // that wait for clients to read them, of all connections
};

struct HttpHead {
  std::string method, path, query;
  int minor_version = 1;                                     // HTTP/1.0 or 1.1
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case, values trimmed
  uint64_t content_length = 0;
  bool chunked = false;
  bool keep_alive = true;
  bool expects_continue = false;

  // The value; repeated headers joined by ", ". nullopt: absent. `name` in lower case.
  std::optional<std::string> find(std::string_view name) const;
  std::string value(std::string_view name) const { return find(name).value_or(""); }
  bool has_body() const { return chunked || content_length > 0; }
};

// Where the head at the start of `bytes` ends (after its blank line), or npos. `from`: where a
// former search on a shorter text stopped.
size_t find_head_end(std::string_view bytes, size_t from = 0);

// `text` is a whole head with its blank line. Returns 0, or the HTTP status that refuses it: 400
// malformed or ambiguous, 413 body too large, 431 too many headers, 501 another transfer coding,
// 505 another version.
int parse_head(std::string_view text, const HttpLimits& limits, HttpHead& out);

// Decodes a chunked body from any split of bytes.
class ChunkedDecoder {
 public:
  explicit ChunkedDecoder(size_t max_bytes) : max_bytes_(max_bytes) {}
  enum class State { more, done, malformed, too_large };
  // Consumes from `in` what belongs to the body, appending data to `out`.
  State feed(std::string_view& in, std::string& out);

 private:
  enum class Step { size, data, data_end, trailer };
  State end_line(std::string_view line);
  const size_t max_bytes_;
  Step step_ = Step::size;
  std::string line_;
  uint64_t left_ = 0;    // of the chunk
  size_t total_ = 0;     // of the body
  size_t trailers_ = 0;  // bytes
};

std::string_view status_text(int status);

using HttpHeaders = std::vector<std::pair<std::string, std::string>>;
// "HTTP/1.1 200 OK" to the blank line. `length` nullopt: no Content-Length is written.
std::string response_head(int status, std::string_view content_type, std::optional<size_t> length,
                          bool keep_alive, const HttpHeaders& headers = {});
// One chunk of a chunked body.
std::string chunk(std::string_view data);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace gpumcp::mcp
