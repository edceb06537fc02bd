// Sessions of 2025-03-26 to 2025-11-25: their life, their streams, what is asked of the client, and
// the pair of endpoints of 2024-11-05.
#include <doctest/doctest.h>

#include <thread>
#include <vector>

#include "http_support.h"
#include "mcp/session.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;
using namespace std::chrono_literals;

namespace {

Json request(int id, const std::string& method, Json params = Json::object()) {
  return {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}};
}
Json initialize(const std::string& version) {
  return request(1, "initialize",
                 {{"protocolVersion", version},
                  {"capabilities", {{"sampling", Json::object()}, {"roots", Json::object()}}},
                  {"clientInfo", {{"name", "t"}, {"version", "1"}}}});
}
std::string begin(const Fixture& f, const std::string& version = "2025-11-25",
                  const std::string& headers = "") {
  Reply reply = f.ask(post(to_text(initialize(version)), headers));
  REQUIRE(reply.status == 200);
  REQUIRE(reply.headers.count("mcp-session-id") == 1);
  return reply.headers["mcp-session-id"];
}
std::string in(const std::string& session) { return "Mcp-Session-Id: " + session + "\r\n"; }
std::string bare(const std::string& method, const std::string& headers,
                 const std::string& path = "/mcp") {
  return method + " " + path + " HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n" +
         headers + "\r\n";
}
std::string get(const std::string& session, const std::string& last = "") {
  return bare("GET", in(session) + (last.empty() ? "" : "Last-Event-ID: " + last + "\r\n"));
}
// The next event that says something, with its id.
struct Event {
  std::string id;
  Json json;
};
Event next(Wire& wire) {
  while (true) {
    auto event = wire.read_whole_event();
    REQUIRE(event);
    if (!event->data.empty()) return {event->id, Json::parse(event->data)};
  }
}

struct Asking : Fixture {
  explicit Asking(HttpOptions options = {}) : Fixture(std::move(options), {.name = "test"}) {
    server().expose("roots", "Asks for the roots.", [](Context& context) {
      return static_cast<int>(context.list_roots("r").size());
    });
    server().expose("let_go", "Lets its stream go, then waits.", [this](Context& context) {
      context.release_stream(7ms);
      entered.happen();
      may_answer.wait();
      return true;
    });
  }
  Happening may_answer;
};

}  // namespace

TEST_CASE("pitfall 9: a session begins with initialize and ends with DELETE") {
  Fixture f;
  const std::string id = begin(f), other = begin(f);
  CHECK(id.size() >= 32);
  CHECK(id != other);
  CHECK(f.http().sessions() == 2);
  CHECK(f.ask(post(to_text(request(2, "tools/list")), in(id))).status == 200);
  CHECK(f.ask(bare("DELETE", in(id))).status == 200);
  CHECK(f.ask(post(to_text(request(2, "tools/list")), in(id))).status == 404);
  CHECK(f.ask(bare("DELETE", in(id))).status == 404);
  CHECK(f.ask(get(id)).status == 404);
  CHECK(f.ask(get("guess")).status == 404);
  CHECK(f.ask(post(to_text(request(2, "tools/list")), in(other))).status == 200);
  CHECK(f.http().sessions() == 1);
}

TEST_CASE("a session belongs to the principal that began it") {
  Fixture f;
  const std::string mine = "Authorization: Bearer mine\r\n";
  const std::string id = begin(f, "2025-11-25", mine);
  const std::string list = to_text(request(2, "tools/list"));
  CHECK(f.ask(post(list, in(id) + mine)).status == 200);
  CHECK(f.ask(post(list, in(id) + "Authorization: Bearer yours\r\n")).status == 404);
  CHECK(f.ask(post(list, in(id))).status == 404);
  CHECK(f.ask(bare("DELETE", in(id))).status == 404);
}

TEST_CASE("peers 5: sessions that idle expire; too many are refused, spare ones make room") {
  SUBCASE("expiry") {
    Fixture f({.sessions = {.idle = 0ms}});
    CHECK(f.ask(post(to_text(request(2, "tools/list")), in(begin(f)))).status == 404);
    CHECK(f.http().sessions() == 0);
  }
  SUBCASE("the limit") {
    Fixture f({.sessions = {.max = 1}});
    begin(f);
    Reply reply = f.ask(post(to_text(initialize("2025-11-25"))));
    CHECK(reply.status == 503);
    CHECK(reply.headers.count("retry-after") == 1);
    CHECK(reply.body.find("1 sessions are open, the limit") != std::string::npos);
  }
  SUBCASE("room") {
    Fixture f({.sessions = {.max = 1, .spare = 0ms}});
    const std::string first = begin(f), second = begin(f);
    CHECK(f.ask(post(to_text(request(2, "tools/list")), in(first))).status == 404);
    CHECK(f.ask(post(to_text(request(2, "tools/list")), in(second))).status == 200);
  }
}

TEST_CASE("who names no session is served without one, unless sessions are required") {
  for (bool required : {false, true}) {
    Fixture f({.require_session = required});
    // A method that is no string is a broken message, not a broken connection.
    CHECK(f.ask(post(R"({"jsonrpc":"2.0","id":1,"method":1})")).status == 400);
    const int expected = required ? 400 : 200;
    CHECK(f.ask(legacy(legacy_call(1, "add", {{"a", 1}, {"b", 2}}))).status == expected);
    CHECK(f.ask(bare("GET", "")).status == (required ? 400 : 405));
    CHECK(f.ask(bare("DELETE", "")).status == (required ? 400 : 405));
    CHECK(f.ask(modern(modern_call(1, "add", {{"a", 1}, {"b", 2}}))).status == 200);
    begin(f);
  }
}

TEST_CASE("MCP-Protocol-Version that nobody knows is refused in a session, an absent one is not") {
  Fixture f;
  const std::string id = begin(f), list = to_text(request(2, "tools/list"));
  CHECK(f.ask(post(list, in(id) + "MCP-Protocol-Version: 1999-01-01\r\n")).status == 400);
  CHECK(f.ask(post(list, in(id))).status == 200);
}

TEST_CASE("a request ignores a session id when it is of 2026-07-28, and gets none") {
  Fixture f;
  Reply reply = f.ask(modern(modern_call(1, "add", {{"a", 1}, {"b", 2}}), in("gone")));
  CHECK(reply.status == 200);
  CHECK(reply.headers.count("mcp-session-id") == 0);
}

TEST_CASE("a tool's question goes out on its call's stream, and a posted answer resolves it") {
  Asking f;
  const std::string id = begin(f);
  Wire call(f.port());
  call.send(post(to_text(legacy_call(5, "roots")), in(id)));
  CHECK(call.read_head().headers["content-type"] == "text/event-stream");
  const Event question = next(call);
  CHECK(question.json["method"] == "roots/list");
  const Json answer = {{"jsonrpc", "2.0"},
                       {"id", question.json["id"]},
                       {"result", {{"roots", {{{"uri", "file:///a"}}, {{"uri", "file:///b"}}}}}}};
  // In another session the same id answers nothing.
  CHECK(f.ask(post(to_text(answer), in(begin(f)))).status == 202);
  CHECK(f.ask(post(to_text(answer), in(id))).status == 202);
  const Event result = next(call);
  CHECK(result.json["id"] == 5);
  CHECK(result.json["result"]["content"][0]["text"].get<std::string>().find('2') !=
        std::string::npos);
}

TEST_CASE("GET carries the server's messages, once per session") {
  Fixture f;
  const std::string id = begin(f);
  Wire stream(f.port()), again(f.port());
  stream.send(get(id));
  CHECK(stream.read_head().status == 200);
  again.send(get(id));
  CHECK(again.read().status == 409);
  f.server().notify_list_changed("tools");
  const Event told = next(stream);
  CHECK(told.json["method"] == "notifications/tools/list_changed");
  CHECK(told.id.starts_with("0-"));
  // Lost and taken up again: what came meanwhile is there, once.
  stream.close();
  f.server().notify_list_changed("prompts");
  Wire back(f.port());
  back.send(get(id, told.id));
  CHECK(back.read_head().status == 200);
  f.server().notify_list_changed("resources");
  CHECK(next(back).json["method"] == "notifications/prompts/list_changed");
  CHECK(next(back).json["method"] == "notifications/resources/list_changed");
  CHECK(f.ask(bare("DELETE", in(id))).status == 200);
  CHECK_FALSE(back.read_event());
}

TEST_CASE("a stream that the server lets go is resumed by Last-Event-ID, and replays itself only") {
  Asking f;
  const std::string id = begin(f);
  Wire call(f.port());
  call.send(post(to_text(legacy_call(5, "let_go")), in(id)));
  CHECK(call.read_head().headers["content-type"] == "text/event-stream");
  const auto priming = call.read_whole_event();
  REQUIRE(priming);
  CHECK_FALSE(priming->id.empty());
  CHECK(priming->data.empty());
  CHECK(call.rest_of_stream().find("retry: 7\n") != std::string::npos);
  REQUIRE(f.entered.wait());
  f.server().notify_list_changed("tools");  // belongs to another stream
  Wire back(f.port());
  back.send(get(id, priming->id));
  CHECK(back.read_head().status == 200);
  f.may_answer.happen();
  CHECK(next(back).json["id"] == 5);
  CHECK_FALSE(back.read_event());
  CHECK(f.ask(get(id, "99-1")).status == 400);
  CHECK(f.ask(get(id, "nonsense")).status == 400);
}

TEST_CASE("no priming event below 2025-11-25, and release does nothing there") {
  Asking f;
  const std::string id = begin(f, "2025-06-18");
  Wire call(f.port());
  call.send(post(to_text(legacy_call(5, "steps", Json::object(), {{"progressToken", 1}})), in(id)));
  call.read_head();
  CHECK_FALSE(call.read_whole_event()->data.empty());
  f.may_answer.happen();
  CHECK(f.ask(post(to_text(legacy_call(6, "let_go")), in(id))).json()["id"] == 6);
}

TEST_CASE(
    "pitfall 5: a session's client that leaves does not cancel, and fetches the answer later; one "
    "of "
    "2026-07-28 cancels") {
  Fixture f({.stream_after = 1ms});
  const std::string id = begin(f);
  Wire call(f.port()), modern_client(f.port());
  call.send(post(to_text(legacy_call(5, "hold")), in(id)));
  modern_client.send(modern(modern_call(5, "hold")));
  REQUIRE(f.entered.wait(2));
  call.read_head();
  const auto priming = call.read_whole_event();
  call.close();
  modern_client.close();
  CHECK(f.cancelled.wait());
  f.release();
  CHECK(f.finished.wait());
  Wire back(f.port());
  back.send(get(id, priming->id));
  back.read_head();
  CHECK(next(back).json["id"] == 5);
}

TEST_CASE("DELETE cancels the session's calls") {
  Fixture f;
  const std::string id = begin(f);
  Wire call(f.port());
  call.send(post(to_text(legacy_call(5, "hold")), in(id)));
  REQUIRE(f.entered.wait());
  CHECK(f.ask(bare("DELETE", in(id))).status == 200);
  CHECK(f.cancelled.wait());
}

TEST_CASE("peers 8: equal ids of two sessions never mix: 1,000 interleaved calls") {
  Fixture f;
  std::vector<std::thread> clients;
  std::atomic<int> wrong = 0;
  for (int client = 0; client < 2; ++client) {
    clients.emplace_back([&, client, id = begin(f)] {
      Wire wire(f.port());
      for (int i = 0; i < 500; ++i) {
        wire.send(post(to_text(legacy_call(i, "add", {{"a", i}, {"b", client * 1000}})), in(id)));
        const Json reply = wire.read().json();
        wrong += reply["id"] != i ||
                 reply["result"]["structuredContent"]["result"] != double(i + client * 1000);
      }
    });
  }
  for (auto& client : clients) client.join();
  CHECK(wrong == 0);
}

TEST_CASE("a session takes batches in 2025-03-26 only") {
  Fixture f;
  const Json batch = {legacy_call(1, "add", {{"a", 1}, {"b", 2}}),
                      legacy_call(2, "add", {{"a", 1}, {"b", 3}})};
  CHECK(f.ask(post(to_text(batch), in(begin(f, "2025-03-26")))).json().size() == 2);
  CHECK(f.ask(post(to_text(batch), in(begin(f, "2025-06-18")))).status == 400);
}

TEST_CASE(
    "peers 13: HTTP+SSE: the endpoint comes first, answers come on the stream only, and its end is "
    "the session's") {
  Fixture f;
  Wire stream(f.port());
  stream.send(bare("GET", "", "/sse"));
  CHECK(stream.read_head().headers["content-type"] == "text/event-stream");
  const auto endpoint = stream.read_whole_event();
  REQUIRE(endpoint);
  CHECK(endpoint->type == "endpoint");
  CHECK(endpoint->data.starts_with("/messages?sessionId="));
  auto say = [&](const Json& message) {
    const Reply reply = f.ask(post(to_text(message), "", endpoint->data));
    CHECK(reply.body.find("jsonrpc") == std::string::npos);
    return reply.status;
  };
  CHECK(say(initialize("2024-11-05")) == 202);
  CHECK(next(stream).json["result"]["protocolVersion"] == "2024-11-05");
  CHECK(say(legacy_call(7, "add", {{"a", 1}, {"b", 2}})) == 202);
  CHECK(next(stream).json["id"] == 7);
  CHECK(say(legacy_call(8, "hold")) == 202);
  REQUIRE(f.entered.wait());
  stream.close();
  CHECK(f.cancelled.wait());
  CHECK(f.ask(post("{}", "", "/messages?sessionId=guess")).status == 404);
  CHECK(f.ask(post("{}", "", "/messages")).status == 404);
}

TEST_CASE("HTTP+SSE asks for Host, Origin, method and token as the other endpoint does") {
  Fixture f({.token = "secret"});
  const std::string token = "Authorization: Bearer secret\r\n";
  for (const char* path : {"/sse", "/messages"}) {
    CAPTURE(path);
    const std::string method = path == std::string("/sse") ? "GET" : "POST";
    for (const char* wrong : {"", "Authorization: Bearer secret2\r\n", "Authorization: secret\r\n",
                              "Authorization: Basic secret\r\n"}) {
      Wire wire(f.port());
      wire.send(bare(method, wrong, path));
      Reply refused = wire.read();
      CHECK(refused.status == 401);
      CHECK(refused.headers["www-authenticate"].starts_with("Bearer"));
    }
    for (const char* origin : {"http://evil.example", "null", "http://localhost.evil.example"})
      CHECK(f.ask(bare(method, token + "Origin: " + origin + "\r\n", path)).status == 403);
    for (const char* host : {"evil.example", "localhost.evil.example", "user@localhost"})
      CHECK(f.ask(method + " " + path + " HTTP/1.1\r\nHost: " + host + "\r\n" + token + "\r\n")
                .status == 403);
    CHECK(f.ask(bare("PUT", token, path)).status == 405);
  }
  CHECK(f.http().sessions() == 0);
  // Its own pages and the right token are let in.
  Wire wire(f.port());
  wire.send(bare("GET", token + fmt::format("Origin: http://localhost:{}\r\n", f.port()), "/sse"));
  CHECK(wire.read_event_of_new_stream());
  Wire narrow(f.port());
  narrow.send("GET /sse HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n" + token +
              "\r\n");
  CHECK(narrow.read().status == 406);
}

namespace {

// The path that a new stream of HTTP+SSE tells to post to.
std::string endpoint_of(Wire& stream) {
  stream.send(bare("GET", "", "/sse"));
  CHECK(stream.read_head().status == 200);
  return stream.read_event().value_or("");
}

}  // namespace

TEST_CASE(
    "HTTP+SSE bounds what is posted: its size, its type, its depth, and all bodies together") {
  Fixture f({.max_bodies_bytes = 6000}, {.name = "test", .max_message_bytes = 4000});
  Wire stream(f.port());
  const std::string path = endpoint_of(stream), ping = to_text(request(1, "ping"));
  const auto status = [&](const std::string& body, const std::string& headers) {
    return f
        .ask(fmt::format("POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n{}",
                         path, body.size(), headers, body))
        .status;
  };
  const std::string json_type = "Content-Type: application/json\r\n";
  CHECK(status(std::string(4001, ' '), json_type) == 413);
  CHECK(f.ask("POST " + path + " HTTP/1.1\r\nHost: localhost\r\n" + json_type +
              "Transfer-Encoding: chunked\r\n\r\nfa1\r\n")
            .status == 413);
  CHECK(status(ping, "") == 415);
  CHECK(status(ping, "Content-Type: text/plain\r\n") == 415);
  CHECK(status(ping, json_type + "Content-Encoding: gzip\r\n") == 415);
  CHECK(status(ping, json_type + "X: " + std::string(40000, 'x') + "\r\n") == 431);
  std::string many;
  for (int i = 0; i < 120; ++i) many += "X: y\r\n";
  CHECK(status(ping, json_type + many) == 431);
  // What is no message is answered where it was posted, and not on the stream as well.
  const std::string deep = std::string(200, '[') + std::string(200, ']');
  for (const std::string& body :
       {deep, std::string("{"), std::string("7"), std::string("[]"),
        R"({"jsonrpc":"2.0","id":1,"method":"ping","params":)" + deep + "}",
        R"({"jsonrpc":"2.0","id":")" + std::string(2000, 'x') + R"(","method":"ping"})"}) {
    CAPTURE(body.substr(0, 60));
    const Reply refused = f.ask(post(body, "", path));
    CHECK(refused.status == 400);
    CHECK(refused.json()["error"].contains("message"));
  }
  // Bodies that are being read count together, whatever endpoint they go to.
  Wire slow(f.port());
  slow.send(fmt::format("POST /mcp HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: 3500\r\n\r\n",
                        json_type) +
            std::string(3400, ' '));
  bool full = false;
  const std::string large = post(std::string(3000, ' ') + ping, "", path);
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  int accepted = 0;
  while (!full && std::chrono::steady_clock::now() < deadline) {
    const int got = f.ask(large).status;
    full = got == 503;
    if (got == 202) ++accepted;
  }
  CHECK(full);
  slow.close();
  CHECK(f.ask(post(ping, "", path)).status == 202);
  for (int i = 0; i <= accepted; ++i) CHECK(next(stream).json["id"] == 1);
}

TEST_CASE("HTTP+SSE counts among connections and sessions, and gives both back") {
  SUBCASE("connections") {
    Fixture f({.max_connections = 2});
    std::optional<Wire> first(f.port());
    Wire second(f.port());
    CHECK(endpoint_of(*first).starts_with("/messages?sessionId="));
    CHECK(endpoint_of(second).starts_with("/messages?sessionId="));
    Wire third(f.port());
    third.send(bare("GET", "", "/sse"));
    CHECK(third.read().status == 503);
    first.reset();
    int status = 0;
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (status != 202 && std::chrono::steady_clock::now() < deadline) {
      Wire again(f.port());
      again.send(bare("GET", "", "/healthz"));
      status = again.read().status == 200 ? 202 : 503;
    }
    CHECK(status == 202);
  }
  SUBCASE("sessions") {
    Fixture f({.sessions = {.max = 1}});
    std::optional<Wire> first(f.port());
    endpoint_of(*first);
    Wire second(f.port());
    second.send(bare("GET", "", "/sse"));
    Reply refused = second.read();
    CHECK(refused.status == 503);
    CHECK(refused.headers["retry-after"] == "60");
    CHECK(refused.body.find("1 sessions are open, the limit") != std::string::npos);
    first.reset();
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (f.http().sessions() > 0 && std::chrono::steady_clock::now() < deadline) {
    }
    Wire third(f.port());
    CHECK(endpoint_of(third).starts_with("/messages?sessionId="));
  }
}

TEST_CASE("a session with too many calls at once is told the limit, and others find room") {
  Fixture f({}, {.name = "test", .max_calls_per_session = 2});
  const std::string greedy = begin(f), other = begin(f);
  std::vector<std::unique_ptr<Wire>> held;
  for (int i = 0; i < 2; ++i) {
    held.push_back(std::make_unique<Wire>(f.port()));
    held.back()->send(post(to_text(legacy_call(i, "hold")), in(greedy)));
  }
  REQUIRE(f.entered.wait(2));
  const Json add = legacy_call(7, "add", {{"a", 1}, {"b", 2}});
  const Json refused = f.ask(post(to_text(add), in(greedy))).json();
  CHECK(refused["result"]["isError"] == true);
  CHECK(refused.dump().find("busy: 2 calls of this client run or wait") != std::string::npos);
  CHECK(f.ask(post(to_text(add), in(other))).json()["result"]["structuredContent"]["result"] == 3);
  CHECK(f.ask(modern(modern_call(7, "add", {{"a", 1}, {"b", 2}}))).status == 200);
  f.release();
  for (auto& one : held) CHECK(one->read().status == 200);
  CHECK(f.ask(post(to_text(add), in(greedy))).json()["result"]["structuredContent"]["result"] == 3);
}
