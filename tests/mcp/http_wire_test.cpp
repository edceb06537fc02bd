#include "mcp/http_wire.h"

#include <doctest/doctest.h>

using namespace gpumcp::mcp;

namespace {
int status_of(const std::string& text, HttpHead* head = nullptr) {
  HttpHead local;
  return parse_head(text, {.head_bytes = 4096, .headers = 10, .body_bytes = 1000},
                    head ? *head : local);
}
std::string with(const std::string& headers) {
  return "POST /mcp HTTP/1.1\r\nHost: a\r\n" + headers + "\r\n";
}
}  // namespace

TEST_CASE("a head gives method, path and trimmed headers in lower case") {
  HttpHead head;
  REQUIRE(status_of("GET /a/b?c=d HTTP/1.1\r\nHOST: x:1\r\nX-Two:\t 1 \r\nx-two: 2\r\n\r\n",
                    &head) == 0);
  CHECK(head.method == "GET");
  CHECK(head.path == "/a/b");
  CHECK(head.query == "c=d");
  CHECK(head.value("host") == "x:1");
  CHECK(head.value("x-two") == "1, 2");
  CHECK(head.keep_alive);
}

TEST_CASE("what two parsers could read differently is refused") {
  CHECK(status_of(with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")) == 400);
  CHECK(status_of(with("Content-Length: 5\r\nContent-Length: 6\r\n")) == 400);
  CHECK(status_of(with("Content-Length: +5\r\n")) == 400);
  CHECK(status_of(with("Content-Length: 0x5\r\n")) == 400);
  CHECK(status_of(with("Content-Length: \r\n")) == 400);
  CHECK(status_of(with("Transfer-Encoding: gzip, chunked\r\n")) == 501);
  CHECK(status_of(with("Host: b\r\n")) == 400);
  CHECK(status_of("GET / HTTP/1.1\r\n\r\n") == 400);
  CHECK(status_of(with("Folded: a\r\n b\r\n")) == 400);
  CHECK(status_of(with("Space : a\r\n")) == 400);
  CHECK(status_of(with("Bare: a\nInjected: b\r\n")) == 400);
  CHECK(status_of(with(std::string("Nul: a\0b\r\n", 10))) == 400);
  CHECK(status_of("GET  / HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
  CHECK(status_of("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n") == 400);
  CHECK(status_of("GET / HTTP/2.0\r\nHost: a\r\n\r\n") == 505);
}

TEST_CASE("limits of a head have their statuses") {
  CHECK(status_of(with("Content-Length: 1000\r\n")) == 0);
  CHECK(status_of(with("Content-Length: 1001\r\n")) == 413);
  CHECK(status_of(with("Content-Length: 99999999999999999999999\r\n")) == 413);
  std::string many;
  for (int i = 0; i < 9; ++i) many += "A: b\r\n";
  CHECK(status_of(with(many)) == 0);
  CHECK(status_of(with(many + "A: b\r\n")) == 431);
  CHECK(status_of(with("A: " + std::string(5000, 'a') + "\r\n")) == 431);
}

TEST_CASE("a chunked body is the same in every split") {
  const std::string wire = "5;ext=1\r\nhello\r\nA\r\n, chunked!\r\n0\r\nTrailer: x\r\n\r\nNEXT";
  for (size_t step = 1; step <= wire.size(); ++step) {
    ChunkedDecoder decoder(100);
    std::string out, rest;
    auto state = ChunkedDecoder::State::more;
    for (size_t at = 0; at < wire.size(); at += step) {
      std::string_view in = std::string_view(wire).substr(at, step);
      if (state == ChunkedDecoder::State::more) state = decoder.feed(in, out);
      rest += in;
    }
    CHECK(state == ChunkedDecoder::State::done);
    CHECK(out == "hello, chunked!");
    CHECK(rest == "NEXT");
  }
}

TEST_CASE("a chunked body is bounded and strict") {
  auto feed = [](std::string_view in) {
    ChunkedDecoder decoder(10);
    std::string out;
    return decoder.feed(in, out);
  };
  using State = ChunkedDecoder::State;
  CHECK(feed("b\r\n") == State::too_large);
  CHECK(feed("6\r\nabcdef\r\n5\r\n") == State::too_large);
  CHECK(feed("ffffffffffffffff\r\n") == State::too_large);
  CHECK(feed("fffffffffffffffff\r\n") == State::malformed);
  CHECK(feed("x\r\n") == State::malformed);
  CHECK(feed("\r\n") == State::malformed);
  CHECK(feed("-1\r\n") == State::malformed);
  CHECK(feed("1\nab") == State::malformed);
  CHECK(feed("1 ;x\r\na\r\n0\r\n\r\n") == State::done);
  for (const char* disputed : {" 1\r\na\r\n0\r\n\r\n", "1 \r\na\r\n0\r\n\r\n",
                               "1;\rx\r\na\r\n0\r\n\r\n", "0x1\r\na\r\n0\r\n\r\n"})
    CHECK(feed(disputed) == State::malformed);
  CHECK(feed("1\r\nab\r\n") == State::malformed);
  CHECK(feed("1;" + std::string(500, 'a')) == State::malformed);
  CHECK(feed("0\r\nT: " + std::string(5000, 'a')) == State::malformed);
}
