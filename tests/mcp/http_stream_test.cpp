// What takes time: streams, disconnects, slow clients, many connections, the end of the server.
#include <doctest/doctest.h>

#include <list>
#include <thread>
#include <vector>

#include "http_support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;
using namespace std::chrono_literals;

namespace {
const Json kToken = {{"progressToken", "p"}};
}  // namespace

TEST_CASE("peers 12: progress makes the answer to a POST a stream, and the connection lives on") {
  Fixture f;
  Wire wire(f.port());
  for (bool modern_era : {true, false}) {
    wire.send(modern_era ? modern(modern_call(1, "steps", Json::object(), kToken))
                         : legacy(legacy_call(1, "steps", Json::object(), kToken)));
    Reply head = wire.read_head();
    CHECK(head.status == 200);
    CHECK(head.headers["content-type"] == "text/event-stream");
    CHECK(head.headers["x-accel-buffering"] == "no");
    for (int i = 1; i <= 2; ++i) {
      const Json event = Json::parse(wire.read_event().value());
      CHECK(event["method"] == "notifications/progress");
      CHECK(event["params"]["progress"] == i);
    }
    CHECK(Json::parse(wire.read_event().value())["id"] == 1);
    CHECK_FALSE(wire.read_event());
  }
  wire.send(modern(modern_call(2, "add", {{"a", 1}, {"b", 2}})));
  CHECK(wire.read().headers["content-type"] == "application/json");
}

TEST_CASE("a client that takes no streams gets plain JSON, one that takes nothing else a stream") {
  Fixture f;
  const std::string body = to_text(legacy_call(1, "steps", Json::object(), kToken));
  auto ask = [&](const std::string& accept) {
    return f.ask(
        fmt::format("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                    "application/json\r\nAccept: {}\r\nContent-Length: {}\r\n\r\n{}",
                    accept, body.size(), body));
  };
  CHECK(ask("application/json").json()["id"] == 1);
  CHECK(ask("text/event-stream").headers["content-type"] == "text/event-stream");
}

TEST_CASE("a listen needs an event stream, and says so") {
  Fixture f;
  const std::string body =
      to_text(Json{{"jsonrpc", "2.0"},
                   {"id", 1},
                   {"method", "subscriptions/listen"},
                   {"params", {{"notifications", Json::object()}, {"_meta", meta_of()}}}});
  auto ask = [&](const char* version, const char* accept) {
    Wire wire(f.port());
    wire.send(
        fmt::format("POST /mcp HTTP/{}\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                    "Accept: {}\r\nMCP-Protocol-Version: 2026-07-28\r\n"
                    "Mcp-Method: subscriptions/listen\r\nContent-Length: {}\r\n\r\n{}",
                    version, accept, body.size(), body));
    return wire.read_head().status;
  };
  CHECK(ask("1.1", "application/json") == 406);
  CHECK(ask("1.0", "*/*") == 406);
  CHECK(ask("1.1", "text/event-stream") == 200);
}

TEST_CASE("a call that says nothing becomes a stream with comments") {
  Fixture f({.stream_after = 20ms, .comment_every = 20ms});
  Wire wire(f.port());
  wire.send(modern(modern_call(1, "hold")));
  CHECK(wire.read_head().headers["content-type"] == "text/event-stream");
  CHECK(wire.read_comment().starts_with(':'));
  CHECK(wire.read_comment().starts_with(':'));
  f.release();
  CHECK(Json::parse(wire.read_event().value())["id"] == 1);
  CHECK_FALSE(wire.read_event());
}

TEST_CASE("a modern client that leaves cancels its call, before and after the head was sent") {
  for (bool streaming : {false, true}) {
    Fixture f({.stream_after = streaming ? 1ms : 60000ms});
    Wire wire(f.port());
    wire.send(modern(modern_call(1, "hold")));
    REQUIRE(f.entered.wait());
    if (streaming) CHECK(wire.read_head().status == 200);
    wire.close();
    CHECK(f.cancelled.wait());
  }
}

TEST_CASE("a modern client that leaves with a request sent ahead still cancels") {
  Fixture f;
  Wire wire(f.port());
  wire.send(modern(modern_call(1, "hold")) + modern(modern_call(2, "add", {{"a", 1}, {"b", 1}})));
  REQUIRE(f.entered.wait());
  wire.close();
  CHECK(f.cancelled.wait());
}

TEST_CASE("a legacy client that leaves does not cancel, and half-closed it gets its answer") {
  Fixture f;
  Wire gone(f.port()), half(f.port());
  gone.send(legacy(legacy_call(1, "hold")));
  half.send(legacy(legacy_call(1, "hold")));
  REQUIRE(f.entered.wait(2));
  gone.close();
  half.close_writing();
  // A modern call that is cancelled by now shows that the server has had its chance to see the
  // others leave.
  Wire witness(f.port());
  witness.send(modern(modern_call(1, "hold")));
  REQUIRE(f.entered.wait(3));
  witness.close();
  REQUIRE(f.cancelled.wait(1));
  f.release();
  CHECK(f.finished.wait(2));
  CHECK(half.read().json()["id"] == 1);
}

TEST_CASE("peers 1: 150 open streams leave others their answers") {
  Fixture f({.stream_after = 1ms}, {.max_running_calls = 256});
  std::list<Wire> open;
  for (int i = 0; i < 150; ++i) {
    open.emplace_back(f.port());
    open.back().send(modern(modern_call(i, "hold")));
  }
  REQUIRE(f.entered.wait(150));
  for (Wire& wire : open) CHECK(wire.read_head().status == 200);
  Wire other(f.port());
  other.send(modern(modern_call(1, "add", {{"a", 1}, {"b", 2}})));
  CHECK(other.read().status == 200);
  f.release();
  for (Wire& wire : open) CHECK(wire.read_event().has_value());
}

TEST_CASE("peers 2: slow and silent clients are cut off and block nobody") {
  Fixture f({.timeouts = {.idle = 60s, .head = 300ms, .body = 300ms, .write = 60s}});
  std::list<Wire> slow;
  for (int i = 0; i < 50; ++i) {
    slow.emplace_back(f.port());
    slow.back().send("POST /mcp HTTP/1.1\r\nHost: local");
  }
  Wire body(f.port());
  body.send(
      "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
      "100\r\n\r\n{");
  CHECK(f.ask(modern(modern_call(1, "add", {{"a", 1}, {"b", 2}}))).status == 200);
  for (Wire& wire : slow) CHECK(wire.read().status == 408);
  CHECK(body.read().status == 408);
}

TEST_CASE("an idle connection is closed") {
  Fixture f({.timeouts = {.idle = 50ms}});
  Wire wire(f.port());
  CHECK(wire.closed());
}

TEST_CASE("connections beyond the limit get 503 at once") {
  Fixture f({.max_connections = 2});
  Wire a(f.port()), b(f.port());
  a.send(modern(modern_call(1, "hold")));
  b.send(modern(modern_call(1, "hold")));
  REQUIRE(f.entered.wait(2));
  Wire c(f.port());
  CHECK(c.read().status == 503);
  f.release();
  CHECK(a.read().status == 200);
}

TEST_CASE("a large answer reaches a client that reads late") {
  Server server;
  server.expose("big", "Big.", [] { return std::string(5 << 20, 'x'); });
  auto http = HttpServer::listen(server, {});
  REQUIRE(http);
  std::thread thread([&] { (*http)->serve(); });
  {
    Wire wire((*http)->port());
    wire.send(modern(modern_call(1, "big")) + modern(modern_call(2, "big")));
    CHECK(wire.read().body.size() > (5u << 20));
    CHECK(wire.read().json()["id"] == 2);
  }
  (*http)->stop();
  thread.join();
}

TEST_CASE("what waits for clients to read it is bounded for all of them together") {
  Fixture f({.max_unread_bytes = 1 << 20});
  f.server().expose("big", "Big.", [] { return std::string(12 << 20, 'x'); });
  // More than a socket takes unread. One alone may have that; who comes second is cut off.
  Wire first(f.port()), second(f.port());
  const std::string last = "Connection: close\r\n";
  first.send(modern(modern_call(1, "big"), last));
  CHECK(first.read_head().status == 200);
  second.send(modern(modern_call(2, "big"), last));
  CHECK(second.read_head().status == 200);
  CHECK(f.ask(modern(modern_call(3, "add", {{"a", 1}, {"b", 2}}))).status == 200);
  const size_t whole = 24 << 20;  // once as text, once as structured content
  const size_t one = first.rest().size(), other = second.rest().size();
  CHECK((one > whole) != (other > whole));
  // There is room again.
  CHECK(f.ask(modern(modern_call(4, "big"))).body.size() > whole);
}

TEST_CASE("peers 15: stop() ends idle connections, open streams and serve()") {
  Server server({.drain = 10ms});
  Happening entered;
  server.expose("hold", "Waits.", [&](Context& context) {
    entered.happen();
    std::mutex mutex;
    std::condition_variable_any forever;
    std::unique_lock lock(mutex);
    forever.wait(lock, context.stop_token(), [] { return false; });
    return true;
  });
  auto http = HttpServer::listen(server, {});
  REQUIRE(http);
  std::thread thread([&] { (*http)->serve(); });
  Wire idle((*http)->port()), modern_call_open((*http)->port()), legacy_call_open((*http)->port());
  modern_call_open.send(modern(modern_call(1, "hold")));
  legacy_call_open.send(legacy(legacy_call(1, "hold")));
  REQUIRE(entered.wait(2));
  SUBCASE("of the HTTP server") { (*http)->stop(); }
  SUBCASE("of the server") { server.stop(); }
  thread.join();
  CHECK(idle.closed());
  CHECK(modern_call_open.closed());
  CHECK(legacy_call_open.closed());
}

TEST_CASE("stop() before serve() lets it return at once") {
  Server server;
  auto http = HttpServer::listen(server, {});
  REQUIRE(http);
  (*http)->stop();
  (*http)->serve();
}
