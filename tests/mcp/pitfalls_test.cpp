// The pitfalls of MCP servers that need no HTTP, numbered as in the project's list of what others
// got wrong: "pitfall N" is the protocol's, "peers N" another C++ library's. The other numbers:
// pitfalls_http_test.cpp, and the test of whatever part each one is about.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

int code(const Json& answer) {
  return answer.contains("error") ? answer["error"]["code"].get<int>() : 0;
}

ResourceReader reads(std::string text) {
  return [text = std::move(text)](const std::string& uri,
                                  Context&) -> std::optional<std::vector<ResourceContents>> {
    if (uri.ends_with("none")) return std::nullopt;
    return {{{uri, "text/plain", text}}};
  };
}

// A server that has some of everything.
struct Fixture {
  Fixture() {
    server.expose("one", "A tool.", [] { return 1; });
    server.expose("samples", "Needs a model.", [](Context& c) {
      if (!c.client_capabilities().sampling()) throw MissingCapability(json(R"({"sampling":{}})"));
      return 1;
    });
    server.expose("asks", "Asks for roots.",
                  [](Context& c) { return static_cast<int>(c.list_roots().size()); });
    server.expose("logs", "Logs.", [](Context& c) { c.log(LogLevel::error, "e"); });
    server.expose("task", "Goes on as a task.", [](Context& c) {
      c.start_task({.required = true});
      return 1;
    });
    server.add_tool(
        {.name = "null", .description = "Answers null.", .inputSchema = {{"type", "object"}}},
        [](const Json&, Context&) {
          return CallToolResult{.content = {{TextContent{"null"}}}, .structuredContent = "null"};
        });
    server.add_resource({.uri = "mem://a", .name = "a"}, reads("it"));
    server.add_resource_template({.uriTemplate = "mem://x/{id}", .name = "x"}, reads("x"));
    server.add_prompt({.name = "greet"}, [](const PromptArguments&, Context&) -> GetPromptResult {
      return {.messages = {{"user", {TextContent{"hi"}}}}, ._meta = {{"own", 1}}};
    });
    server.add_completer("greet", "who", [](const std::string&, const PromptArguments&) {
      return Completion{{"Ann"}};
    });
  }
  Json with(std::string_view method, std::string_view params, std::string_view capabilities) {
    return peer.ask(request("1", method,
                            std::string(params) +
                                R"(,"_meta":{"io.modelcontextprotocol/protocolVersion":)"
                                R"("2026-07-28","io.modelcontextprotocol/clientCapabilities":)" +
                                std::string(capabilities) + "}"));
  }
  Server server{{.name = "pitfalls", .version = "1"}};
  Peer peer{server};
};

constexpr const char* kTasks = R"({"extensions":{"io.modelcontextprotocol/tasks":{}}})";

}  // namespace

TEST_CASE_FIXTURE(
    Fixture,
    "pitfall 2: ids, tokens and subscription ids come back in type and value; no id is null") {
  for (const char* id : {"0", "9007199254740992", "1785253123456", "-9223372036854775808", R"("0")",
                         R"("")", R"("\"\n\u00e9")"}) {
    CAPTURE(id);
    peer.send(modern(id, "tools/list"));
    const std::string line = peer.line();
    CHECK(line.starts_with(R"({"jsonrpc":"2.0","id":)"));
    CHECK(json(line)["id"] == json(id));
    if (id[0] != '"')
      CHECK(contains(line, fmt::format(R"("id":{},)", id)));  // no double in between
    peer.send(modern(id, "subscriptions/listen", R"("notifications":{})"));
    CHECK(peer.next()["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == json(id));
    peer.send(cancel(id));
  }
  server.expose("step", "One step.", [](Context& c) { c.progress(1); });
  for (const char* token : {"0", R"("0")", "9007199254740993"}) {
    peer.send(modern_call("7", "step", "{}", fmt::format(R"(,"progressToken":{})", token)));
    CHECK(contains(peer.line(), fmt::format(R"("progressToken":{},)", token)));
    CHECK(peer.next()["id"] == 7);
  }
  for (const char* broken : {"{", "7", R"({"jsonrpc":"2.0","id":null,"method":"tools/list"})",
                             R"({"jsonrpc":"2.0","id":1.5,"method":"x"})"}) {
    const Json answer = peer.ask(broken);
    CHECK(answer.contains("error"));
    CHECK_FALSE(answer.contains("id"));
  }
}

TEST_CASE_FIXTURE(
    Fixture,
    "pitfall 4: every modern result says resultType, and no legacy result has a modern member") {
  auto type = [&](const Json& answer) {
    return answer["result"].value("resultType", std::string("absent"));
  };
  for (auto [method, params] :
       {std::pair("server/discover", ""), std::pair("tools/list", ""),
        std::pair("resources/list", ""), std::pair("resources/templates/list", ""),
        std::pair("prompts/list", ""), std::pair("resources/read", R"("uri":"mem://a")"),
        std::pair("prompts/get", R"("name":"greet")"), std::pair("tools/call", R"("name":"one")"),
        std::pair("tools/call", R"("name":"null")"),
        std::pair(
            "completion/complete",
            R"("ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"who","value":""})"),
        std::pair(
            "completion/complete",
            R"("ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"x","value":""})")}) {
    CAPTURE(method);
    const Json answer = peer.ask(modern("1", method, params));
    CHECK(type(answer) == "complete");
    CHECK(answer["result"]["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "pitfalls");
    const std::string name = method;
    const bool cached =
        name.ends_with("list") || name == "server/discover" || name == "resources/read";
    CHECK(answer["result"].contains("ttlMs") == cached);
    CHECK(answer["result"].contains("cacheScope") == cached);
  }
  CHECK(peer.ask(modern("1", "prompts/get", R"("name":"greet")"))["result"]["_meta"]["own"] == 1);
  CHECK(type(with("tools/call", R"("name":"asks")", R"({"roots":{}})")) == "input_required");
  const Json task = with("tools/call", R"("name":"task")", kTasks);
  CHECK(type(task) == "task");
  const std::string id = fmt::format(R"("taskId":{})", to_text(task["result"]["taskId"]));
  CHECK(type(with("tasks/get", id, kTasks)) == "complete");
  CHECK(type(with("tasks/update", id + R"(,"inputResponses":{})", kTasks)) == "complete");
  CHECK(type(with("tasks/cancel", id, kTasks)) == "complete");

  peer.initialize("2025-11-25");
  for (auto [method, params] :
       {std::pair("ping", ""), std::pair("logging/setLevel", R"("level":"error")"),
        std::pair("resources/subscribe", R"("uri":"mem://a")"),
        std::pair("resources/unsubscribe", R"("uri":"mem://a")")}) {
    peer.send(request("1", method, params));
    CHECK(peer.line() == R"({"jsonrpc":"2.0","id":1,"result":{}})");
  }
  for (
      auto [method, params] :
      {std::pair("tools/list", ""), std::pair("resources/read", R"("uri":"mem://a")"),
       std::pair("prompts/get", R"("name":"greet")"), std::pair("tools/call", R"("name":"one")"),
       std::pair(
           "completion/complete",
           R"("ref":{"type":"ref/prompt","name":"greet"},"argument":{"name":"who","value":""})")}) {
    const std::string line = to_text(peer.ask(request("1", method, params)));
    for (const char* modern_only : {"resultType", "ttlMs", "cacheScope", "serverInfo"})
      CHECK_FALSE_MESSAGE(contains(line, modern_only), line);
  }
}

TEST_CASE_FIXTURE(
    Fixture, "pitfall 6: nothing of an earlier request on the connection counts in a later one") {
  CHECK(with("tools/call", R"("name":"samples")", R"({"sampling":{}})").contains("result"));
  CHECK(code(with("tools/call", R"("name":"samples")", "{}")) == -32021);
  // Nor does a legacy session's level or capability, or the other way round.
  peer.send(modern_call("1", "logs", "{}", R"(,"io.modelcontextprotocol/logLevel":"debug")"));
  CHECK(peer.next()["method"] == "notifications/message");
  CHECK(peer.next()["id"] == 1);
  CHECK(peer.ask(modern_call("2", "logs"))["id"] == 2);
  peer.ask(request("3", "initialize",
                   R"("protocolVersion":"2025-06-18","capabilities":{"sampling":{}})"));
  peer.ask(request("4", "logging/setLevel", R"("level":"debug")"));
  CHECK(peer.ask(call("5", "samples"))["result"]["structuredContent"]["result"] == 1);
  CHECK(code(with("tools/call", R"("name":"samples")", "{}")) == -32021);
  CHECK(peer.ask(modern_call("6", "logs"))["id"] == 6);
  CHECK(code(peer.ask(request("7", "server/discover"))) == -32602);  // no version is remembered
}

TEST_CASE(
    "pitfall 12: tools are listed as they were registered, so what needs nothing can stay first") {
  Server server;
  std::string want;
  for (const char* name : {"plain", "zeta", "alpha", "m_1", "m_10", "m_2", "Beta"}) {
    server.expose(name, "A tool.", [] { return 1; });
    want += std::string(name) + " ";
  }
  Peer peer(server);
  for (int i = 0; i < 3; ++i) {
    std::string got;
    const Json answer = peer.ask(modern("1", "tools/list"));
    for (auto& tool : answer["result"]["tools"]) got += tool["name"].get<std::string>() + " ";
    CHECK(got == want);
  }
}

TEST_CASE(
    "pitfall 13: schemas go out with every keyword, in order; URIs are compared as they are "
    "written") {
  const std::string schema =
      R"({"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","$defs":{"z":{"$anchor":"q","type":"string"}},)"
      R"("properties":{"b":{"$ref":"#/$defs/z"},"a":{"type":"integer","x-unknown":{"k":[1,null]}}},"if":{"required":["a"]},)"
      R"("then":{"required":["b"]},"additionalProperties":false,"x-own":true})";
  Server server({.for_hosts = false});
  server.add_tool({.name = "raw",
                   .description = "d",
                   .inputSchema = json(schema),
                   .outputSchema = json(schema)},
                  [](const Json&, Context&) { return CallToolResult::error("no"); });
  server.add_resource({.uri = "file:///a%20b/../c", .name = "odd"}, reads("odd"));
  Peer peer(server);
  peer.initialize();
  for (const std::string& ask : {modern("1", "tools/list"), request("1", "tools/list")}) {
    peer.send(ask);
    const std::string line = peer.line();
    CHECK(contains(line, R"("inputSchema":)" + schema));
    CHECK(contains(line, R"("outputSchema":)" + schema));
  }
  CHECK(
      peer.ask(modern("1", "resources/read", R"("uri":"file:///a%20b/../c")")).contains("result"));
  for (const char* same :
       {"file:///a b/../c", "file:///c", "FILE:///a%20b/../c", "file:///a%20b/../c/"})
    CHECK(code(peer.ask(modern("1", "resources/read", fmt::format(R"("uri":"{}")", same)))) ==
          -32602);
}

TEST_CASE_FIXTURE(
    Fixture, "pitfall 15: errors and results have the modern shape where it is easily missed") {
  const Json missing = with("tools/call", R"("name":"samples")", "{}");
  CHECK(code(missing) == -32021);
  CHECK(missing["error"]["data"]["requiredCapabilities"] ==
        json(R"({"sampling":{}})"));                                      // no array
  CHECK(peer.ask(modern("1", "tools/list", "", "")).contains("result"));  // without clientInfo
  for (const char* uri : {"mem://nowhere", "mem://x/none"}) {
    const Json answer = peer.ask(modern("1", "resources/read", fmt::format(R"("uri":"{}")", uri)));
    CHECK(code(answer) == -32602);  // not -32002, and no empty contents
    CHECK(answer["error"]["data"]["uri"] == uri);
  }
  const Json null = peer.ask(modern_call("1", "null"))["result"];
  REQUIRE(null.contains("structuredContent"));
  CHECK(null["structuredContent"].is_null());
}

TEST_CASE_FIXTURE(Fixture,
                  "pitfall 16: capabilities with members that nobody knows are capabilities") {
  const char* capabilities =
      R"({"roots":{"listChanged":true,"x":1},"elicitation":{"form":{"y":[]}},"z":{"deep":{}}})";
  const Json answer = with("tools/call", R"("name":"asks")", capabilities);
  CHECK(answer["result"]["resultType"] == "input_required");
  CHECK(answer["result"]["inputRequests"]["roots"]["method"] == "roots/list");
}

TEST_CASE_FIXTURE(
    Fixture, "pitfall 17: names and codes are the schema's, not those of the proposals before it") {
  const Json discover = peer.ask(modern("1", "server/discover"))["result"];
  CHECK(discover.contains("supportedVersions"));
  CHECK_FALSE(discover.contains("serverInfo"));
  CHECK_FALSE(discover.contains("protocolVersion"));
  CHECK(with("tools/call", R"("name":"asks")", R"({"roots":{}})")["result"]["resultType"] ==
        "input_required");
  CHECK(code(with("tools/call", R"("name":"samples")", "{}")) == -32021);  // not -32003
  CHECK(code(peer.ask(request("1", "tools/list",
                              R"("_meta":{"io.modelcontextprotocol/protocolVersion":"2026-06-30",)"
                              R"("io.modelcontextprotocol/clientCapabilities":{}})"))) ==
        -32022);  // not -32004
  const Json task = with("tools/call", R"("name":"task")", kTasks)["result"];
  CHECK(task["resultType"] == "task");
  for (const char* flat :
       {"taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs", "pollIntervalMs"})
    CHECK(task.contains(flat));
  for (const char* old : {"task", "ttl", "pollInterval"}) CHECK_FALSE(task.contains(old));
}

TEST_CASE(
    "pitfall 19: a blocked handler delays neither ping nor lists, listens, cancellation and other "
    "calls") {
  Gate began, stopped;
  Server server;
  server.expose("block", "Blocks.", [&](Context& c) {
    Gate stop;
    std::stop_callback on_stop(c.stop_token(), [&] { stop.open(); });
    began.open();
    if (stop.wait()) stopped.open();
  });
  server.expose("one", "A tool.", [] { return 1; });
  Peer peer(server);
  peer.initialize();
  peer.send(call("\"blocked\"", "block"));
  REQUIRE(began.wait());
  CHECK(peer.ask(request("1", "ping"))["id"] == 1);
  CHECK(peer.ask(request("2", "tools/list"))["id"] == 2);
  CHECK(peer.ask(modern("3", "server/discover"))["id"] == 3);
  CHECK(peer.ask(call("4", "one"))["id"] == 4);
  CHECK(peer.ask(modern("5", "subscriptions/listen", R"("notifications":{})"))["method"] ==
        "notifications/subscriptions/acknowledged");
  peer.send(cancel("\"blocked\""));
  CHECK(stopped.wait());
  CHECK(peer.ask(request("6", "ping"))["id"] == 6);
}

TEST_CASE("peers 18: tools come and go while many clients list and call") {
  Server server;
  server.expose("stays", "A tool.", [] { return 1; });
  std::atomic<bool> done = false;
  std::jthread editor([&] {
    for (int i = 0; !done; ++i) {
      server.expose(fmt::format("t{}", i % 7), "Comes and goes.", [i] { return i; });
      server.add_resource({.uri = fmt::format("mem://{}", i % 7), .name = "r"}, reads("r"));
      CHECK(server.remove_tool(fmt::format("t{}", i % 7)));
      CHECK(server.remove_resource(fmt::format("mem://{}", i % 7)));
    }
  });
  std::vector<std::jthread> clients;
  for (int c = 0; c < 4; ++c)
    clients.emplace_back([&] {
      Peer peer(server);
      for (int i = 0; i < 100; ++i) {
        CHECK(peer.ask(modern("1", "tools/list"))["result"]["tools"][0]["name"] == "stays");
        CHECK(peer.ask(modern_call("2", "stays"))["result"]["structuredContent"]["result"] == 1);
        const Json gone = peer.ask(modern_call("3", fmt::format("t{}", i % 7)));
        CHECK((gone.contains("result") || code(gone) == -32602));
      }
    });
  clients.clear();
  done = true;
}

TEST_CASE(
    "peers 20: what a handler prints stays off the wire, and bytes that are no UTF-8 do not end "
    "the server") {
  int in[2], out[2], err[2];
  REQUIRE(pipe(in) == 0);
  REQUIRE(pipe(out) == 0);
  REQUIRE(pipe(err) == 0);
  const pid_t child = fork();
  if (child == 0) {
    dup2(in[0], 0), dup2(out[1], 1), dup2(err[1], 2);
    for (int fd = 3; fd < 64; ++fd) ::close(fd);
    int status = 2;
    {
      Server server;
      server.expose("noise", "Prints.", [] {
        std::printf("printf of a library\n");
        std::fflush(stdout);
        [[maybe_unused]] auto n = ::write(1, "write\n", 6);
        return std::string("bad \xff\xfe bytes");
      });
      status = server.serve_stdio();
    }
    _exit(status);
  }
  ::close(in[0]), ::close(out[1]), ::close(err[1]);
  {
    auto transport = make_line_transport(out[0], in[1]);
    for (int i = 0; i < 2; ++i) {
      REQUIRE(transport->write(modern_call("1", "noise")));
      auto line = transport->read();
      REQUIRE(line);
      REQUIRE(*line);
      CHECK(json(**line)["result"]["structuredContent"]["result"] ==
            "bad \xEF\xBF\xBD\xEF\xBF\xBD bytes");
    }
  }
  int status = -1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  std::string said;
  char buffer[4096];
  for (ssize_t n; (n = ::read(err[0], buffer, sizeof buffer)) > 0;)
    said.append(buffer, static_cast<size_t>(n));
  ::close(err[0]);
  CHECK(contains(said, "printf of a library\nwrite\n"));
}

TEST_CASE(
    "cancellation reaches a running handler over pipes, as in stdio, and over a Unix socket") {
  char name[] = "/tmp/gpumcp-test-XXXXXX";
  const std::filesystem::path folder = mkdtemp(name);
  for (bool unix_socket : {false, true}) {
    CAPTURE(unix_socket);
    Gate began, stopped;
    Server server;
    server.expose("block", "Blocks.", [&](Context& c) {
      Gate stop;
      std::stop_callback on_stop(c.stop_token(), [&] { stop.open(); });
      began.open();
      if (stop.wait()) stopped.open();
    });
    std::jthread serving;
    std::unique_ptr<Transport> client;
    int listener = -1;
    if (unix_socket) {
      listener = listen_unix(folder / "s").value();
      serving = std::jthread([&] { server.serve_listener(listener); });
      const int fd = connect_unix(folder / "s").value();
      client = make_line_transport(fd, fd);
    } else {
      int in[2], out[2];
      REQUIRE(pipe2(in, O_CLOEXEC) == 0);
      REQUIRE(pipe2(out, O_CLOEXEC) == 0);
      client = make_line_transport(out[0], in[1]);
      serving =
          std::jthread([&server, far = make_line_transport(in[0], out[1])] { server.serve(*far); });
    }
    REQUIRE(client->write(call("1", "block")));
    REQUIRE(began.wait());
    REQUIRE(client->write(cancel("1")));
    CHECK(stopped.wait());
    REQUIRE(client->write(request("2", "ping")));
    CHECK(contains(**client->read(), R"("id":2,)"));
    server.stop();
    serving.join();
    if (listener >= 0) ::close(listener);
  }
  std::filesystem::remove_all(folder);
}

TEST_CASE("equal ids of peers on streams never mix: 1,000 interleaved calls, and 1 is not \"1\"") {
  Server server;
  server.expose("echo", "Echoes.", [](int n) { return n; }, arg("n"));
  std::vector<std::jthread> clients;
  std::atomic<int> wrong = 0;
  for (int c = 0; c < 4; ++c)
    clients.emplace_back([&server, &wrong, c] {
      Peer peer(server);
      for (int i = 0; i < 250; i += 2) {
        // Two calls at once whose ids differ only in type.
        peer.send(call(std::to_string(i), "echo", fmt::format(R"({{"n":{}}})", i * 10 + c)));
        peer.send(
            call(fmt::format("\"{}\"", i), "echo", fmt::format(R"({{"n":{}}})", -(i * 10 + c))));
        for (int answers = 0; answers < 2; ++answers) {
          const Json answer = peer.next();
          const int want = answer["id"].is_string() ? -(i * 10 + c) : i * 10 + c;
          wrong += answer["result"]["structuredContent"]["result"] != want;
        }
      }
    });
  clients.clear();
  CHECK(wrong == 0);
}

TEST_CASE("what a peer makes the server keep or repeat is bounded, and the error names the limit") {
  Server server;
  server.expose("echo", "Echoes.", [](int n) { return n; }, arg("n"));
  server.add_resource_template(
      {.uriTemplate = "mem://{name}", .name = "any"},
      [](const std::string&, Context&) -> std::optional<std::vector<ResourceContents>> {
        return std::nullopt;
      });
  const auto says = [](const Json& answer) {
    if (!answer.contains("error") || answer["error"]["code"] != -32602) return std::string();
    return answer["error"]["message"].get<std::string>();
  };
  Peer peer(server);
  const std::string half(70000, 'x'), name = R"("protocolVersion":"2025-11-25",)";
  CHECK(contains(says(peer.ask(request("1", "initialize",
                                       name + R"("capabilities":{"x":")" + half +
                                           R"("},"clientInfo":{"name":")" + half + "\"}"))),
                 "131072"));
  CHECK_FALSE(contains(
      says(peer.ask(request("1", "initialize",
                            name + R"("capabilities":{},"clientInfo":{"name":")" + half + "\"}"))),
      "131072"));
  const std::string uri_part(65000, 'x');  // a template takes URIs of 64 KiB
  // URIs, in both eras.
  const auto subscribe = [&](const std::string& uri) {
    return peer.ask(request("2", "resources/subscribe", R"("uri":"mem://)" + uri + "\""));
  };
  CHECK(subscribe("a" + uri_part)["result"].empty());
  CHECK(subscribe("a" + uri_part)["result"].empty());  // the same one
  CHECK(subscribe("b" + uri_part)["result"].empty());
  CHECK(contains(says(subscribe("c" + uri_part)), "131072"));
  CHECK(subscribe("b")["result"].empty());
  CHECK(peer.ask(request("3", "resources/unsubscribe", R"("uri":"mem://a)" + uri_part + "\""))
            .contains("result"));
  CHECK(subscribe("c" + uri_part)["result"].empty());
  CHECK(contains(
      says(peer.ask(modern("4", "subscriptions/listen",
                           R"("notifications":{"resourceSubscriptions":["mem://a)" + uri_part +
                               R"(","mem://b)" + uri_part + R"(","mem://c)" + uri_part + "\"]}"))),
      "131072"));
  // A progress token comes back with each notification.
  for (size_t size : {size_t(254), size_t(255)}) {
    const Json answer = peer.ask(modern_call(
        "5", "echo", R"({"n":1})", R"(,"progressToken":")" + std::string(size, 't') + "\""));
    CHECK(contains(says(answer), "256") == (size == 255));
    CHECK(answer.contains("result") == (size == 254));
  }
}
