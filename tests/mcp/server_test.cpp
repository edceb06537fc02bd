// A server seen from one pipe: both eras on it, negotiation, lists, errors. Calls in flight:
// calls_test.cpp.
#include "mcp/server.h"

#include <fmt/format.h>

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

void add_tools(Server& server) {
  server.expose(
      "add", "Add two numbers.", [](double a, double b) { return a + b; }, arg("a"), arg("b"));
  server.add_resource(
      {.uri = "mem://a", .name = "a", .title = "A", .mimeType = "text/plain"},
      [](const std::string& uri, Context&) -> std::optional<std::vector<ResourceContents>> {
        return {{{uri, "text/plain", "hello"}}};
      });
  server.add_resource_template(
      {.uriTemplate = "mem://x/{id}", .name = "x"},
      [](const std::string& uri, Context&) -> std::optional<std::vector<ResourceContents>> {
        if (uri == "mem://x/none") return std::nullopt;
        if (uri == "mem://x/bad") throw std::runtime_error("disk on fire");
        return {{{uri, "b/c", "", "QQ=="}}};
      });
}

struct Fixture {
  Fixture() { add_tools(server); }
  Server server{
      {.name = "test", .version = "3", .title = "Test server", .instructions = "Be kind."}};
  Peer peer{server};
};

int code(const Json& answer) {
  return answer.contains("error") ? answer["error"]["code"].get<int>() : 0;
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "both eras are served on one pipe, in any order") {
  for (int round = 0; round < 3; ++round) {
    Json answer = peer.ask(modern_call("1", "add", R"({"a":1,"b":2})"));
    CHECK(answer["result"]["resultType"] == "complete");
    CHECK(answer["result"]["structuredContent"]["result"] == 3);
    CHECK(answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "test");
    if (round == 1) peer.initialize("2025-06-18");
    answer = peer.ask(call("\"x\"", "add", R"({"a":1,"b":2})"));
    CHECK(answer["id"] == "x");
    CHECK_FALSE(answer["result"].contains("resultType"));
    CHECK_FALSE(answer["result"].contains("_meta"));
    CHECK(answer["result"]["structuredContent"]["result"] == 3);
  }
}

TEST_CASE_FIXTURE(
    Fixture,
    "peers 10: initialize agrees on each legacy version, and offers the latest for others") {
  for (std::string_view version : kVersions) {
    const Json answer = peer.ask(
        request("1", "initialize", R"("protocolVersion":")" + std::string(version) + "\""));
    const std::string want(is_modern_version(version) ? kLatestLegacyVersion : version);
    CHECK(answer["result"]["protocolVersion"] == want);
    CHECK(answer["result"]["serverInfo"]["name"] == "test");
    CHECK(answer["result"]["serverInfo"].contains("title") == (want >= "2025-06-18"));
    CHECK(answer["result"]["instructions"] == "Be kind.");
    CHECK(answer["result"]["capabilities"].contains("tools"));
  }
  for (const char* version : {"1.0", "2099-01-01", "2025-11-26"})
    CHECK(peer.ask(request("1", "initialize",
                           std::string(R"("protocolVersion":")") + version +
                               "\""))["result"]["protocolVersion"] == "2025-11-25");
  for (const char* params : {"", R"("protocolVersion":7)", R"("protocolVersion":null)"})
    CHECK(code(peer.ask(request("1", "initialize", params))) == -32602);
}

TEST_CASE_FIXTURE(Fixture, "a hostile initialize gets an answer and the server lives on") {
  CHECK(code(peer.ask(request("1", "initialize",
                              R"("protocolVersion":"2025-06-18","clientInfo":{"x":1e999})"))) ==
        -32602);
  CHECK(peer.ask(request("2", "initialize",
                         R"("protocolVersion":"2025-06-18","clientInfo":{"name":{},"version":[]})"))
            .contains("result"));
  CHECK(code(peer.ask(request("3", "tools/list", R"("_meta":{"x":1e999})"))) == -32700);
  CHECK(code(peer.ask(request("4", "tools/list", R"("_meta":7)"))) == -32602);
  CHECK(code(peer.ask(request("5", "tools/list", R"("_meta":{"progressToken":{}})"))) == -32602);
  CHECK(peer.ask(call("6", "add", R"({"a":1e999,"b":1})"))["result"]["isError"] == true);
  CHECK(peer.ask(request("7", "ping"))["result"] == Json::object());
}

TEST_CASE_FIXTURE(Fixture, "server/discover answers and pins nothing") {
  const Json answer = peer.ask(modern("1", "server/discover"));
  CHECK(answer["result"]["supportedVersions"] == Json::array({"2026-07-28"}));
  CHECK(answer["result"]["capabilities"].contains("resources"));
  CHECK(answer["result"]["ttlMs"].is_number_integer());
  CHECK(answer["result"]["cacheScope"] == "private");
  peer.initialize("2024-11-05");
  CHECK_FALSE(peer.ask(request("2", "tools/list"))["result"].contains("resultType"));
}

TEST_CASE_FIXTURE(Fixture, "a modern request needs its whole _meta, and nothing is remembered") {
  const std::string version = R"("io.modelcontextprotocol/protocolVersion":"2026-07-28")";
  const std::string capabilities = R"("io.modelcontextprotocol/clientCapabilities":{})";
  CHECK(peer.ask(modern("1", "tools/list")).contains("result"));
  CHECK(code(peer.ask(request("2", "tools/list", "\"_meta\":{" + version + "}"))) == -32602);
  CHECK(code(peer.ask(request("3", "tools/list", "\"_meta\":{" + capabilities + "}"))) == -32602);
  CHECK(code(peer.ask(request("4", "tools/list",
                              R"("_meta":{"io.modelcontextprotocol/protocolVersion":5,)" +
                                  capabilities + "}"))) == -32602);
  CHECK(code(peer.ask(request(
            "5", "tools/list",
            "\"_meta\":{" + version + R"(,"io.modelcontextprotocol/clientCapabilities":[]})"))) ==
        -32602);
  CHECK(code(peer.ask(request("6", "server/discover"))) == -32602);
  CHECK(code(peer.ask(modern("7", "tools/list", "",
                             R"(,"io.modelcontextprotocol/logLevel":"loud")"))) == -32602);
  CHECK(peer.ask(modern("8", "tools/list", "",
                        R"(,"io.modelcontextprotocol/clientInfo":"no object")"))
            .contains("result"));
}

TEST_CASE_FIXTURE(
    Fixture,
    "an unknown or legacy version in _meta is -32022, with what is supported and what was asked") {
  for (const char* version : {"v999.0.0", "2025-06-18", "2099-01-01", ""}) {
    const Json answer = peer.ask(
        request("1", "tools/list",
                R"("_meta":{"io.modelcontextprotocol/protocolVersion":")" + std::string(version) +
                    R"(","io.modelcontextprotocol/clientCapabilities":{}})"));
    CHECK(code(answer) == -32022);
    CHECK(answer["error"]["data"]["supported"] == Json::array({"2026-07-28"}));
    CHECK(answer["error"]["data"]["requested"] == version);
  }
}

TEST_CASE_FIXTURE(Fixture,
                  "methods of the other era, of nobody and of unadvertised features are unknown") {
  for (const char* method :
       {"initialize", "ping", "logging/setLevel", "prompts/list", "x", "resources/subscribe"}) {
    CAPTURE(method);
    CHECK(code(peer.ask(modern("1", method))) == -32601);
  }
  for (const char* method : {"prompts/list", "completion/complete", "", "tools/call/x"})
    CHECK(code(peer.ask(request("1", method))) == -32601);
  Server bare;
  Peer other(bare);
  for (const char* method : {"tools/list", "tools/call", "resources/list",
                             "resources/templates/list", "resources/read"}) {
    CHECK(code(other.ask(modern("1", method))) == -32601);
    CHECK(code(other.ask(request("1", method))) == -32601);
  }
  CHECK_FALSE(
      other.ask(modern("1", "server/discover"))["result"]["capabilities"].contains("tools"));
}

TEST_CASE_FIXTURE(Fixture, "a legacy request before initialize is answered") {
  CHECK(peer.ask(request("1", "tools/list"))["result"]["tools"].size() == 1);
}

TEST_CASE_FIXTURE(Fixture, "ping is answered with exactly {}") {
  peer.send(request("\"p\"", "ping"));
  CHECK(peer.line() == R"({"jsonrpc":"2.0","id":"p","result":{}})");
  peer.send(request("1", "logging/setLevel", R"("level":"error")"));
  CHECK(peer.line() == R"({"jsonrpc":"2.0","id":1,"result":{}})");
  CHECK(code(peer.ask(request("1", "logging/setLevel", R"("level":"loud")"))) == -32602);
  CHECK(code(peer.ask(request("1", "logging/setLevel"))) == -32602);
}

TEST_CASE_FIXTURE(Fixture, "the list of tools is each version's own, the same bytes every time") {
  peer.initialize("2024-11-05");
  peer.send(request("1", "tools/list"));
  const std::string old = peer.line();
  CHECK_FALSE(contains(old, "outputSchema"));
  peer.send(request("1", "tools/list"));
  CHECK(peer.line() == old);
  peer.initialize("2025-06-18");
  CHECK(peer.ask(request("1", "tools/list"))["result"]["tools"][0].contains("outputSchema"));
  const Json modern_list = peer.ask(modern("1", "tools/list"))["result"];
  CHECK(modern_list["ttlMs"] == 300000);
  CHECK(modern_list["tools"][0]["inputSchema"]["properties"]["a"]["type"] == "number");
  CHECK(code(peer.ask(modern("1", "tools/list", R"("cursor":"x")"))) == -32602);
}

TEST_CASE_FIXTURE(Fixture, "broken calls are protocol errors, broken arguments are tool errors") {
  CHECK(code(peer.ask(call("1", "none"))) == -32602);
  CHECK(contains(peer.ask(modern_call("1", "none"))["error"]["message"].get<std::string>(),
                 "unknown tool \"none\"; tools: add"));
  CHECK(code(peer.ask(request("1", "tools/call"))) == -32602);
  CHECK(code(peer.ask(request("1", "tools/call", R"("name":5)"))) == -32602);
  CHECK(code(peer.ask(call("1", "add", "[1,2]"))) == -32602);
  const Json answer = peer.ask(call("1", "add", R"({"a":1,"b":"2"})"));
  CHECK(answer["result"]["isError"] == true);
  CHECK(answer["result"]["content"][0]["text"] ==
        "arguments.b: expected a number, got the string \"2\"");
  CHECK(peer.ask(request("1", "tools/call", R"("name":"add")"))["result"]["content"][0]["text"] ==
        "arguments.a is missing");
}

TEST_CASE_FIXTURE(
    Fixture, "broken messages get an error with the id where it was readable, and none otherwise") {
  peer.send("{");
  std::string line = peer.line();
  CHECK(json(line)["error"]["code"] == -32700);
  CHECK_FALSE(json(line).contains("id"));
  CHECK(peer.ask(R"({"jsonrpc":"1.0","id":9,"method":"ping"})")["id"] == 9);
  CHECK(code(peer.ask("[" + request("1", "ping") + "]")) == -32600);
  CHECK(code(peer.ask(std::string(65, '[') + std::string(65, ']'))) == -32700);
  peer.send(R"({"jsonrpc":"2.0","id":1,"result":{}})");  // an answer to nothing: ignored
  peer.send(R"({"jsonrpc":"2.0","method":"notifications/whatever"})");
  CHECK(peer.ask(request("5", "ping"))["id"] == 5);
  peer.initialize();
  peer.send("{");
  line = peer.line();
  CHECK(json(line).contains("id"));  // legacy: null
  CHECK(json(line)["id"].is_null());
}

TEST_CASE_FIXTURE(Fixture, "a session of 2025-03-26 takes batches, no other does") {
  const std::string batch = fmt::format(
      R"([{} ,{},{{"jsonrpc":"2.0","method":"notifications/x"}},7,{{"jsonrpc":"2.0","id":9,"result":{{}}}},{}])",
      request("1", "ping"), call("\"c\"", "add", R"({"a":1,"b":2})"),
      request("2", "initialize", R"("protocolVersion":"2025-03-26")"));
  CHECK(code(peer.ask(batch)) == -32600);  // nothing was agreed on
  for (std::string_view version : kVersions) {
    if (is_modern_version(version)) continue;
    peer.initialize(version);
    const Json answer = peer.ask(batch);
    if (version != "2025-03-26") {
      CHECK(code(answer) == -32600);
      CHECK(contains(answer["error"]["message"].get<std::string>(), "2025-03-26 only"));
      continue;
    }
    REQUIRE(answer.is_array());
    std::map<std::string, Json> by_id;
    for (auto& one : answer) by_id[one.contains("id") ? to_text(one["id"]) : "none"] = one;
    CHECK(by_id.size() == 4);
    CHECK(by_id["1"]["result"] == Json::object());
    CHECK(contains(to_text(by_id["\"c\""]), "3"));
    CHECK(code(by_id["2"]) == -32600);  // initialize cannot be in a batch
    CHECK(code(by_id["null"]) == -32600);
    // Empty, too long, with an element of 2026-07-28, of notifications only.
    CHECK(code(peer.ask("[ ]")) == -32600);
    std::string many = "[7";
    for (int i = 0; i < 64; ++i) many += ",7";
    many += ']';
    CHECK(contains(to_text(peer.ask(many)), "1 to 64"));
    CHECK(code(peer.ask(fmt::format("[{}]", modern("1", "tools/list")))) == -32600);
    CHECK(code(peer.ask("[1")) == -32700);
    peer.send(R"([{"jsonrpc":"2.0","method":"notifications/x"}])");
    CHECK(peer.ask(request("3", "ping"))["id"] == 3);
  }
}

TEST_CASE_FIXTURE(Fixture,
                  "a batch may cancel what it calls, and strings in it may hold brackets") {
  Gate began;
  server.expose("wait", "Waits.", [&](Context& c) {
    Gate stop;
    std::stop_callback on_stop(c.stop_token(), [&] { stop.open(); });
    began.open();
    stop.wait();
  });
  peer.initialize("2025-03-26");
  peer.send(fmt::format("[{},{}]", call("1", "wait"), request("\"],[{\\\"\"", "ping")));
  REQUIRE(began.wait());
  peer.send(cancel("1"));
  const Json answer = peer.next();
  REQUIRE(answer.size() == 1);
  CHECK(answer[0]["id"] == "],[{\"");
}

TEST_CASE_FIXTURE(Fixture, "ids come back as they went, beyond 32 bits too") {
  for (const char* id :
       {"0", "-1", "1785253123456", "9223372036854775807", "\"\"", "\"1\"", "\"\xC3\xA9\""}) {
    peer.send(request(id, "ping"));
    CHECK(peer.line() == R"({"jsonrpc":"2.0","id":)" + std::string(id) + R"(,"result":{}})");
  }
}

TEST_CASE_FIXTURE(
    Fixture, "resources are listed and read, and what is not there is said in each era's code") {
  CHECK(peer.ask(request("1", "resources/list"))["result"]["resources"][0]["uri"] == "mem://a");
  CHECK(peer.ask(modern(
            "1", "resources/templates/list"))["result"]["resourceTemplates"][0]["uriTemplate"] ==
        "mem://x/{id}");
  CHECK(peer.ask(request("1", "resources/read", R"("uri":"mem://a")"))["result"] ==
        json(R"({"contents":[{"uri":"mem://a","mimeType":"text/plain","text":"hello"}]})"));
  const Json blob = peer.ask(modern("1", "resources/read", R"("uri":"mem://x/7")"))["result"];
  CHECK(blob["contents"][0]["blob"] == "QQ==");
  CHECK(blob["ttlMs"] == 0);
  CHECK(blob["resultType"] == "complete");
  for (const char* uri : {"mem://nowhere", "mem://x/none", "mem://x/"}) {
    CAPTURE(uri);
    const std::string params = R"("uri":")" + std::string(uri) + "\"";
    CHECK(code(peer.ask(request("1", "resources/read", params))) == -32002);
    const Json modern_answer = peer.ask(modern("1", "resources/read", params));
    CHECK(code(modern_answer) == -32602);
    CHECK(modern_answer["error"]["data"]["uri"] == uri);
  }
  const Json bad = peer.ask(modern("1", "resources/read", R"("uri":"mem://x/bad")"));
  CHECK(code(bad) == -32603);
  CHECK(bad["error"]["message"] == "mem://x/bad failed: disk on fire");
  CHECK(code(peer.ask(modern("1", "resources/read"))) == -32602);
}

TEST_CASE("stop() from another thread ends serve(), and a message over the limit is refused") {
  Server server({.max_message_bytes = 200});
  add_tools(server);
  Peer peer(server);
  CHECK(code(peer.ask(request("1", "ping", "\"x\":\"" + std::string(300, 'x') + "\""))) == -32600);
  CHECK(peer.ask(request("1", "ping")).contains("result"));
  CHECK(server.connections() == 1);
  std::jthread stopper([&] { server.stop(); });
  CHECK(peer.served());
  CHECK(peer.line().empty());
}
