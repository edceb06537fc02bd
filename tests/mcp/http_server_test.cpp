// Requests and single answers: eras, statuses, guards, limits.
#include "mcp/http_server.h"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "http_support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {
Json request(int id, const std::string& method, Json params = Json::object()) {
  return {{"jsonrpc", "2.0"}, {"id", id}, {"method", method}, {"params", std::move(params)}};
}
Json modern_request(int id, const std::string& method) {
  return request(id, method, {{"_meta", meta_of()}});
}
double sum_of(const Reply& reply) {
  return reply.json()["result"]["structuredContent"]["result"].get<double>();
}
int code_of(const Reply& reply) { return reply.json()["error"]["code"].get<int>(); }
std::string plain(const std::string& method, const std::string& path,
                  const std::string& headers = "Host: localhost\r\n") {
  return method + " " + path + " HTTP/1.1\r\n" + headers + "\r\n";
}
}  // namespace

TEST_CASE("both eras call on one connection, in plain JSON") {
  Fixture f;
  Wire wire(f.port());
  for (int i = 0; i < 3; ++i) {
    wire.send(modern(modern_call(i, "add", {{"a", i}, {"b", 1}})));
    Reply reply = wire.read();
    CHECK(reply.status == 200);
    CHECK(reply.headers["content-type"] == "application/json");
    CHECK(reply.json()["id"] == i);
    CHECK(reply.json()["result"]["resultType"] == "complete");
    CHECK(sum_of(reply) == i + 1);
    wire.send(legacy(legacy_call(i, "add", {{"a", i}, {"b", 2}})));
    reply = wire.read();
    CHECK(sum_of(reply) == i + 2);
    CHECK_FALSE(reply.json()["result"].contains("resultType"));
  }
}

TEST_CASE("initialize begins a session, also where the version header is absent") {
  Fixture f;
  Json params = {{"protocolVersion", "2025-06-18"},
                 {"capabilities", Json::object()},
                 {"clientInfo", {{"name", "t"}, {"version", "1"}}}};
  Reply reply = f.ask(legacy(request(1, "initialize", params), ""));
  CHECK(reply.status == 200);
  CHECK(reply.json()["result"]["protocolVersion"] == "2025-06-18");
  CHECK(reply.headers.count("mcp-session-id") == 1);
  CHECK(f.ask(post(R"({"jsonrpc":"2.0","method":"notifications/initialized"})")).status == 202);
  CHECK(f.ask(legacy(request(2, "tools/list"), "")).json()["result"]["tools"].size() == 3);
  CHECK(f.ask(legacy(request(3, "ping"))).json()["result"] == Json::object());
}

TEST_CASE("notifications and posted responses are accepted without a body") {
  Fixture f;
  for (const char* body :
       {R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}})",
        R"({"jsonrpc":"2.0","id":5,"result":{}})"}) {
    Wire wire(f.port());
    wire.send(post(body));
    Reply reply = wire.read();
    CHECK(reply.status == 202);
    CHECK(reply.body.empty());
    wire.send(legacy(request(1, "ping")));
    CHECK(wire.read().status == 200);
  }
  CHECK(f.ask(post(R"({"jsonrpc":"2.0","method":"x"})", "MCP-Protocol-Version: 1999-01-01\r\n"))
            .status == 400);
}

TEST_CASE("errors have the status that their era asks for") {
  Fixture f;
  auto check = [&](const std::string& text, int status, int code) {
    Reply reply = f.ask(text);
    CHECK_MESSAGE(reply.status == status, reply.body);
    CHECK_MESSAGE(code_of(reply) == code, reply.body);
  };
  check(post("{"), 400, -32700);
  check(post(""), 400, -32700);
  check(post("[1"), 400, -32700);
  check(post("7"), 400, -32600);
  check(post(R"({"jsonrpc":"1.0","id":1,"method":"ping"})"), 400, -32600);
  check(modern(modern_request(1, "no/such")), 404, -32601);
  check(modern(modern_request(1, "ping")), 404, -32601);
  check(legacy(request(1, "no/such")), 200, -32601);
  check(modern(request(1, "tools/list")), 400, -32602);  // the header claims what _meta does not
  check(legacy(request(1, "server/discover")), 400, -32602);
  check(modern(modern_call(1, "no_such_tool")), 200, -32602);
  check(legacy(legacy_call(1, "no_such_tool")), 200, -32602);
  check(legacy(request(1, "ping"), "2020-01-01"), 400, -32600);
  Json future = modern_request(1, "tools/list");
  future["params"]["_meta"][std::string(kMetaProtocolVersion)] = "v9";
  check(post(to_text(future), "MCP-Protocol-Version: v9\r\nMcp-Method: tools/list\r\n"), 400,
        -32022);
}

TEST_CASE("a tool's failure is in band") {
  Fixture f;
  Reply reply = f.ask(modern(modern_call(1, "add", {{"a", "x"}})));
  CHECK(reply.status == 200);
  CHECK(reply.json()["result"]["isError"] == true);
}

TEST_CASE("headers that differ from the body are a mismatch") {
  Fixture f;
  const std::string body = to_text(modern_call(1, "add", {{"a", 1}, {"b", 2}}));
  auto ask = [&](const std::string& version, const std::string& method, const std::string& name) {
    std::string headers;
    if (!version.empty()) headers += "MCP-Protocol-Version: " + version + "\r\n";
    if (!method.empty()) headers += "Mcp-Method: " + method + "\r\n";
    if (!name.empty()) headers += "Mcp-Name: " + name + "\r\n";
    return f.ask(post(body, headers));
  };
  CHECK(ask("2026-07-28", "tools/call", "add").status == 200);
  CHECK(ask("2026-07-28", "tools/call", "=?base64?YWRk?=").status == 200);
  for (auto [version, method, name] :
       std::vector<std::array<const char*, 3>>{{"", "tools/call", "add"},
                                               {"2025-11-25", "tools/call", "add"},
                                               {"2026-07-28", "", "add"},
                                               {"2026-07-28", "tools/list", "add"},
                                               {"2026-07-28", "tools/call", ""},
                                               {"2026-07-28", "tools/call", "sub"},
                                               {"2026-07-28", "tools/call", "=?base64?YWRk==?="}}) {
    Reply reply = ask(version, method, name);
    CHECK(reply.status == 400);
    CHECK(code_of(reply) == -32020);
  }
}

TEST_CASE("a batch is answered as an array before 2025-06-18 only") {
  Fixture f;
  Json batch = Json::array({request(1, "ping"),
                            legacy_call(2, "add", {{"a", 1}, {"b", 2}}),
                            {{"jsonrpc", "2.0"}, {"method", "notifications/initialized"}},
                            7});
  Reply reply = f.ask(legacy(batch, "2025-03-26"));
  CHECK(reply.status == 200);
  CHECK(reply.json().size() == 3);
  CHECK(f.ask(legacy(Json::array({{{"jsonrpc", "2.0"}, {"method", "x"}}}), "")).status == 202);
  auto refused = [&](const std::string& text) {
    Reply r = f.ask(text);
    CHECK(r.status == 400);
    CHECK(code_of(r) == -32600);
  };
  refused(legacy(batch, "2025-06-18"));
  refused(legacy(Json::array(), ""));
  refused(legacy(Json::array({request(1, "ping"), modern_request(2, "tools/list")}), ""));
  refused(legacy(Json(std::vector<Json>(65, request(1, "ping"))), ""));
}

TEST_CASE("methods and paths beyond the endpoint's are refused") {
  Fixture f;
  for (const char* method : {"GET", "DELETE", "PUT", "OPTIONS", "HEAD"}) {
    Wire wire(f.port());
    wire.send(plain(method, "/mcp"));
    Reply reply = wire.read_head();
    CHECK(reply.status == 405);
    CHECK(reply.headers["allow"] == "POST, GET, DELETE");
  }
  for (const char* path : {"/", "/mcpx", "/mcp/", "/.well-known/oauth-protected-resource",
                           "/.well-known/oauth-authorization-server/mcp"})
    CHECK(f.ask(plain("GET", path)).status == 404);
  CHECK(f.ask(plain("GET", "/healthz")).body == "ok\n");
  CHECK(f.ask(plain("GET", "/readyz")).status == 200);
  CHECK(f.ask(plain("POST", "/healthz", "Host: localhost\r\nContent-Length: 0\r\n")).status == 405);
}

TEST_CASE("readyz and further paths are the program's") {
  bool ready = false;
  Fixture f(
      {.token = "t",
       .ready = [&] { return Json{{"ready", ready}}; },
       .get = {{"/artifacts/", [](const HttpHead& head) { return HttpReply{.body = head.path}; }},
               {"/metrics", [](const HttpHead&) { return HttpReply{.body = "m"}; }, true}}});
  CHECK(f.ask(plain("GET", "/readyz")).status == 503);
  CHECK(f.ask(plain("GET", "/artifacts/7")).status == 401);
  CHECK(
      f.ask(plain("GET", "/artifacts/7", "Host: localhost\r\nAuthorization: Bearer t\r\n")).body ==
      "/artifacts/7");
  CHECK(f.ask(plain("GET", "/metrics")).body == "m");
}

TEST_CASE("a server that drains is not ready, refuses new calls, and lives on") {
  Fixture f;
  CHECK(f.ask(plain("GET", "/readyz")).status == 200);
  f.server().drain();
  CHECK(f.ask(plain("GET", "/readyz")).status == 503);
  CHECK(f.ask(plain("GET", "/healthz")).status == 200);
  CHECK(code_of(f.ask(modern(modern_call(1, "add", {{"a", 1}, {"b", 2}})))) == -31001);
  CHECK(f.ask(legacy(request(1, "ping"))).status == 200);
}

TEST_CASE("pitfall 11: Host and Origin of others are refused, loopback with a port is not") {
  Fixture f;
  const std::string port = std::to_string(f.port());
  const std::string body = to_text(request(1, "ping"));
  auto ask = [&](const std::string& headers) {
    return f.ask("POST /mcp HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: " +
                 std::to_string(body.size()) + "\r\n" + headers + "\r\n" + body);
  };
  for (const std::string& host : std::vector<std::string>{"localhost", "localhost:" + port,
                                                          "127.0.0.1:" + port, "[::1]:" + port})
    CHECK(ask("Host: " + host + "\r\n").status == 200);
  for (const char* host :
       {"evil.example.com", "localhost.evil.com", "127.0.0.1.evil.com:80", "a b", ""})
    CHECK(ask(std::string("Host: ") + host + "\r\n").status == 403);
  CHECK(ask("").status == 400);
  auto origin = [&](const std::string& o) {
    return ask("Host: localhost:" + port + "\r\nOrigin: " + o + "\r\n");
  };
  for (const std::string& good :
       std::vector<std::string>{"http://localhost:" + port, "http://127.0.0.1:" + port}) {
    Reply reply = origin(good);
    CHECK(reply.status == 200);
    CHECK(reply.headers["access-control-allow-origin"] == good);  // never "*"
  }
  const std::vector<std::string> bad_origins = {
      "http://evil.example.com", "http://localhost.evil.com:" + port,
      "http://localhost:" + port + "1", "null", "https://localhost"};
  for (const std::string& bad : bad_origins) CHECK(origin(bad).status == 403);
  CHECK(f.ask(plain("GET", "/healthz", "Host: evil.example.com\r\n")).status == 403);
}

TEST_CASE("the body of a refused request is never taken for a request") {
  Fixture f;
  const std::string hidden = modern(modern_call(1, "hold"));
  Wire wire(f.port());
  wire.send(
      fmt::format("POST /mcp HTTP/1.1\r\nHost: evil.example.com\r\nContent-Length: {}\r\n\r\n{}",
                  hidden.size(), hidden));
  CHECK(wire.read().status == 403);
  CHECK(wire.read_head().status == 0);  // closed, nothing further was answered
  CHECK(f.server().calls_in_flight() == 0);
}

TEST_CASE("peers 19: a token is asked for before anything of the body is read") {
  Fixture f({.token = "sesame"});
  const std::string call = to_text(modern_request(1, "tools/list"));
  const std::string claims = "MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n";
  Reply reply = f.ask(post(call, claims));
  CHECK(reply.status == 401);
  CHECK(reply.headers["www-authenticate"].starts_with("Bearer"));
  CHECK(f.ask(post(call, claims + "Authorization: Bearer sesam\r\n")).status == 401);
  CHECK(f.ask(post(call, claims + "Authorization: Bearer sesame\r\n")).status == 200);
  CHECK(f.ask(plain("GET", "/healthz")).status == 200);
}

TEST_CASE("an address beyond loopback needs a token") {
  Server server;
  for (const char* host : {"0.0.0.0", "::", "example.com", "localhost.evil.com"}) {
    auto http = HttpServer::listen(server, {.host = host});
    REQUIRE_FALSE(http);
    CHECK(http.error().message.find("--token-file") != std::string::npos);
  }
  CHECK(HttpServer::listen(server, {.host = "0.0.0.0", .token = "t"}));
}

TEST_CASE("a second server on the port is refused, and named") {
  Fixture f;
  Server server;
  auto second = HttpServer::listen(server, {.port = f.port()});
  REQUIRE_FALSE(second);
  CHECK(second.error().message.find(std::to_string(f.port())) != std::string::npos);
  CHECK(second.error().message.find("in use") != std::string::npos);
}

TEST_CASE("a port can be taken again as soon as its server has gone") {
  int port;
  {
    Fixture f;
    port = f.port();
    CHECK(f.ask(legacy(request(1, "ping"))).status == 200);
  }
  Fixture again({.port = port});
  CHECK(again.ask(legacy(request(1, "ping"))).status == 200);
}

TEST_CASE("other content types, compressed bodies and narrow Accepts are refused") {
  Fixture f;
  const std::string body = to_text(request(1, "ping"));
  auto ask = [&](const std::string& headers) {
    return f
        .ask(fmt::format("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{}\r\n{}",
                         body.size(), headers, body))
        .status;
  };
  CHECK(ask("") == 415);
  CHECK(ask("Content-Type: text/plain\r\n") == 415);
  CHECK(ask("Content-Type: application/jsonx\r\n") == 415);
  CHECK(ask("Content-Type: application/json\r\nContent-Encoding: gzip\r\n") == 415);
  CHECK(ask("Content-Type: application/json\r\nAccept: text/html\r\n") == 406);
  CHECK(ask("Content-Type: Application/JSON; charset=utf-8\r\nAccept: */*\r\n") == 200);
}

TEST_CASE(
    "peers 17: bodies of megabytes are taken, beyond the limit refused before they are sent") {
  Fixture f({}, {.max_message_bytes = 2000});
  Wire known(f.port());
  known.send(
      "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
      "2001\r\n\r\n");
  CHECK(known.read().status == 413);
  const std::string head =
      "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
      "application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
  Wire chunked(f.port());
  chunked.send(head + "3e8\r\n" + std::string(1000, ' ') + "\r\n3e9\r\n");
  CHECK(chunked.read().status == 413);
  Wire small(f.port());
  const std::string body = to_text(request(1, "ping"));
  small.send(head + fmt::format("{:x}\r\n{}\r\n{:x}\r\n{}\r\n0\r\n\r\n", 5, body.substr(0, 5),
                                body.size() - 5, body.substr(5)));
  CHECK(small.read().status == 200);
  Fixture usual;
  CHECK(usual.ask(legacy(request(1, "ping", {{"x", std::string(5 << 20, 'x')}}))).status == 200);
}

TEST_CASE("all bodies together have a limit, and their room comes back with the answer") {
  Fixture f({.max_bodies_bytes = 100000});
  const Json padding = {{"pad", std::string(60000, 'x')}};
  Wire first(f.port());
  first.send(modern(modern_call(1, "hold", Json::object(), padding)));
  REQUIRE(f.entered.wait());
  const Reply refused = f.ask(modern(modern_call(2, "add", {{"a", 1}, {"b", 2}}, padding)));
  CHECK(refused.status == 503);
  CHECK(refused.body.find("retry") != std::string::npos);
  CHECK(f.ask(modern(modern_call(3, "add", {{"a", 1}, {"b", 2}}))).status == 200);
  f.release();
  CHECK(first.read().status == 200);
  first.send(modern(modern_call(4, "add", {{"a", 1}, {"b", 2}}, padding)));
  CHECK(first.read().status == 200);
}

TEST_CASE("heads beyond the limits are refused") {
  Fixture f({.max_head_bytes = 4096, .max_headers = 20});
  CHECK(f.ask(plain("GET", "/healthz", "Host: localhost\r\nA: " + std::string(5000, 'a') + "\r\n"))
            .status == 431);
  std::string many = "Host: localhost\r\n";
  for (int i = 0; i < 20; ++i) many += "A: b\r\n";
  CHECK(f.ask(plain("GET", "/healthz", many)).status == 431);
  Wire endless(f.port());
  endless.send(std::string(10000, 'a'));
  CHECK(endless.read().status == 431);
}

TEST_CASE("Expect: 100-continue is answered before the body comes") {
  Fixture f;
  const std::string body = to_text(request(1, "ping"));
  Wire wire(f.port());
  wire.send(
      fmt::format("POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                  "application/json\r\nExpect: 100-continue\r\n"
                  "Content-Length: {}\r\n\r\n",
                  body.size()));
  CHECK(wire.read_head().status == 100);
  wire.send(body);
  CHECK(wire.read().status == 200);
}

TEST_CASE("an empty line before a request is passed over, a flood of them is refused") {
  Fixture f;
  Wire wire(f.port());
  wire.send("\r\n" + modern(modern_call(1, "add", {{"a", 1}, {"b", 2}})));
  CHECK(sum_of(wire.read()) == 3);
  for (int i = 0; i < 20; ++i) wire.send("\r\n");  // each used to begin the time for a head anew
  CHECK(wire.read().status == 400);
}

TEST_CASE("requests sent ahead on one connection are answered in order") {
  Fixture f;
  Wire wire(f.port());
  std::string all;
  for (int i = 0; i < 20; ++i) all += modern(modern_call(i, "add", {{"a", i}, {"b", 0}}));
  wire.send(all);
  for (int i = 0; i < 20; ++i) {
    Reply reply = wire.read();
    CHECK(reply.json()["id"] == i);
    CHECK(sum_of(reply) == i);
  }
}

TEST_CASE("a request that comes byte by byte is a request") {
  Fixture f;
  Wire wire(f.port());
  for (char c : modern(modern_call(1, "add", {{"a", 1}, {"b", 2}})))
    wire.send(std::string_view(&c, 1));
  CHECK(sum_of(wire.read()) == 3);
}

TEST_CASE("HTTP/1.0 and Connection: close end the connection after the answer") {
  Fixture f;
  for (const char* text :
       {"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n",
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"}) {
    Wire wire(f.port());
    wire.send(text);
    CHECK(wire.read().body == "ok\n");
    CHECK(wire.closed());
  }
  Wire wire(f.port());
  wire.send(post(to_text(request(1, "ping")), "Connection: close\r\n"));
  CHECK(wire.read().status == 200);
  CHECK(wire.closed());
}

TEST_CASE("clients that use the same ids at once get their own answers") {
  Fixture f;
  std::vector<std::thread> threads;
  std::atomic<int> right = 0;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&, t] {
      Wire wire(f.port());
      for (int i = 0; i < 25; ++i) {
        wire.send(t % 2 ? modern(modern_call(1, "add", {{"a", t}, {"b", i}}))
                        : legacy(legacy_call(1, "add", {{"a", t}, {"b", i}})));
        if (sum_of(wire.read()) == t + i) ++right;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(right == 16 * 25);
}

TEST_CASE("Mcp-Param headers must say what the arguments say, strictly encoded") {
  Fixture f;
  f.server().add_tool(
      {.name = "route",
       .description = "Routes.",
       .inputSchema = Json::parse(
           R"({"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},
               "n":{"type":"integer","x-mcp-header":"N"}}})")},
      [](const Json&, Context&) { return CallToolResult::text("routed"); });
  auto ask = [&](Json arguments, const std::string& headers) {
    const Reply reply = f.ask(modern(modern_call(1, "route", std::move(arguments)), headers));
    if (reply.status != 200) CHECK(code_of(reply) == -32020);
    return reply.status;
  };
  const std::string region = "Mcp-Param-Region: ", n = "mcp-param-n: ";
  CHECK(ask({{"region", "eu"}}, region + "eu\r\n") == 200);
  CHECK(ask({{"region", "eu"}}, region + "=?base64?ZXU=?=\r\n") == 200);
  CHECK(ask({{"region", "é"}}, region + "=?base64?w6k=?=\r\n") == 200);
  CHECK(ask({{"region", ""}}, region + "\r\n") == 200);
  CHECK(ask({{"n", 7}}, n + "7\r\n") == 200);
  CHECK(ask({{"n", 7}}, n + "07.0\r\n") == 200);
  CHECK(ask({{"region", nullptr}}, "Mcp-Param-Other: x\r\n") == 200);
  CHECK(ask({{"region", "eu"}}, "") == 400);
  CHECK(ask({{"region", "eu"}}, region + "us\r\n") == 400);
  CHECK(ask({{"region", "eu"}}, region + "EU\r\n") == 400);
  CHECK(ask({{"region", "eu"}}, region + "=?base64?ZXU?=\r\n") == 400);
  CHECK(ask({{"region", "eu"}}, region + "=?base64?ZXV=?=\r\n") == 400);
  CHECK(ask({{"region", "eu"}}, region + "eu\r\n" + region + "us\r\n") == 400);
  CHECK(ask({{"n", 7}}, n + "8\r\n") == 400);
  CHECK(ask(Json::object(), region + "eu\r\n") == 400);
  // Before 2026-07-28 there are no such headers.
  CHECK(f.ask(legacy(legacy_call(1, "route", {{"region", "eu"}}))).status == 200);
}
