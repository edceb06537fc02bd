// Prompts, completion, pagination, subscriptions: one server, both eras, seen from pipes.
#include "mcp/uri_template.h"

#include <fmt/format.h>

#include <atomic>
#include <thread>

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

int code(const Json& answer) {
  return answer.contains("error") ? answer["error"]["code"].get<int>() : 0;
}

ResourceReader text_of_uri() {
  return [](const std::string& uri, Context&) -> std::optional<std::vector<ResourceContents>> {
    return {{{uri, "text/plain", "it"}}};
  };
}

void add_prompt(Server& server, const char* name) {
  server.add_prompt({.name = name,
                     .title = "Greeting",
                     .description = "Greets.",
                     .arguments = {{"who", "Whom.", true}, {"how", "Style."}}},
                    [](const PromptArguments& a, Context&) -> GetPromptResult {
                      if (a.at("who") == "nobody") throw ToolError("nobody is not greeted");
                      return {.description = "A greeting",
                              .messages = {{"user", {TextContent{"Hello " + a.at("who")}}}}};
                    });
}

struct Fixture {
  Fixture() {
    server.expose("one", "A tool.", [] { return 1; });
    server.add_resource({.uri = "mem://a", .name = "a"}, text_of_uri());
    server.add_resource_template({.uriTemplate = "mem://x/{id}", .name = "x"}, text_of_uri());
    add_prompt(server, "greet");
    server.add_completer("greet", "who", [](const std::string& value, const PromptArguments& a) {
      Completion out;
      for (const char* name : {"Ann", "Anna", "Bob"})
        if (std::string(name).starts_with(value) && !a.contains(name)) out.values.push_back(name);
      return out;
    });
    server.add_completer("mem://x/{id}", "id", [](const std::string&, const PromptArguments&) {
      Completion out;
      for (int i = 0; i < 150; ++i) out.values.push_back(std::to_string(i));
      return out;
    });
  }
  Server server{{.name = "test"}};
  Peer peer{server};
};

std::string listen(std::string_view id, std::string_view filter) {
  return modern(id, "subscriptions/listen", fmt::format(R"("notifications":{})", filter));
}

}  // namespace

TEST_CASE_FIXTURE(Fixture, "prompts are listed with arguments and got with them") {
  Json answer = peer.ask(modern("1", "prompts/list"));
  const Json& prompt = answer["result"]["prompts"][0];
  CHECK(prompt["name"] == "greet");
  CHECK(prompt["arguments"][0]["required"] == true);
  CHECK_FALSE(prompt["arguments"][1].contains("required"));
  CHECK(answer["result"]["ttlMs"] == 300000);
  answer = peer.ask(modern("2", "prompts/get", R"("name":"greet","arguments":{"who":"Ann"})"));
  CHECK(answer["result"]["messages"][0]["content"]["text"] == "Hello Ann");
  CHECK(answer["result"]["resultType"] == "complete");
  peer.initialize("2024-11-05");
  answer = peer.ask(request("3", "prompts/get", R"("name":"greet","arguments":{"who":"Ann"})"));
  CHECK(answer["result"]["description"] == "A greeting");
  CHECK_FALSE(answer["result"].contains("resultType"));
  CHECK_FALSE(peer.ask(request("4", "prompts/list"))["result"]["prompts"][0].contains("title"));
}

TEST_CASE_FIXTURE(Fixture, "a prompt's wrong name or arguments are invalid params that name them") {
  const std::pair<const char*, const char*> bad[] = {
      {R"("name":"none")", "none"},
      {R"("name":7)", "name"},
      {R"("name":"greet")", "who"},
      {R"("name":"greet","arguments":{"how":"x"})", "who"},
      {R"("name":"greet","arguments":{"who":7})", "who"},
      {R"("name":"greet","arguments":[])", "arguments"}};
  for (auto& [params, what] : bad) {
    CAPTURE(params);
    const Json answer = peer.ask(modern("1", "prompts/get", params));
    CHECK(code(answer) == -32602);
    CHECK(contains(answer["error"]["message"].get<std::string>(), what));
  }
  const Json answer =
      peer.ask(modern("1", "prompts/get", R"("name":"greet","arguments":{"who":"nobody"})"));
  CHECK(code(answer) == -32603);
  CHECK(answer["error"]["message"] == "nobody is not greeted");
}

TEST_CASE_FIXTURE(Fixture, "completion proposes values, at most 100 of them") {
  auto complete = [&](std::string ref, std::string argument, std::string more = "") {
    return peer.ask(modern("1", "completion/complete",
                           R"("ref":)" + ref + R"(,"argument":)" + argument + more));
  };
  const std::string prompt = R"({"type":"ref/prompt","name":"greet"})";
  Json answer = complete(prompt, R"({"name":"who","value":"An"})");
  CHECK(answer["result"]["completion"]["values"].dump() == R"(["Ann","Anna"])");
  CHECK(answer["result"]["resultType"] == "complete");
  answer = complete(prompt, R"({"name":"who","value":"An"})",
                    R"(,"context":{"arguments":{"Ann":"there already"}})");
  CHECK(answer["result"]["completion"]["values"].dump() == R"(["Anna"])");
  answer =
      complete(R"({"type":"ref/resource","uri":"mem://x/{id}"})", R"({"name":"id","value":""})");
  CHECK(answer["result"]["completion"]["values"].size() == 100);
  CHECK(answer["result"]["completion"]["total"] == 150);
  CHECK(answer["result"]["completion"]["hasMore"] == true);
  answer = complete(prompt, R"({"name":"how","value":"x"})");
  CHECK(answer["result"]["completion"]["values"].empty());
  for (const char* ref : {R"({"type":"ref/prompt","name":"none"})", R"({"type":"ref/tool"})", "7"})
    CHECK(code(complete(ref, R"({"name":"who","value":"A"})")) == -32602);
  CHECK(code(complete(prompt, "{}")) == -32602);
  CHECK(code(complete(prompt, R"({"name":"who","value":"A"})",
                      R"(,"context":{"arguments":{"Ann":1}})")) == -32602);
}

TEST_CASE_FIXTURE(Fixture, "hostile arguments of a completion are refused, and soon") {
  std::string many = R"({"name":"name","value":"a")";  // a search among them for each took minutes
  for (int i = 0; i < 200'000; ++i) many += ",\"" + std::to_string(i) + "\":0";
  for (const std::string& argument :
       {many + "}", std::string(R"({"name":"name","value":1e999})")}) {
    const Json answer = peer.ask(
        modern("1", "completion/complete", R"("ref":{"type":"ref/none"},"argument":)" + argument));
    CHECK(answer["error"]["code"] == -32602);
  }
  CHECK(peer.ask(modern("2", "subscriptions/listen",
                        R"("notifications":{"a":1e999})"))["error"]["code"] == -32602);
}

TEST_CASE("lists come in pages, and a page goes on where the last one ended") {
  Server server({.name = "paged", .page_size = 3});
  for (int i = 0; i < 8; ++i) server.expose(fmt::format("t{}", i), "A tool.", [] { return 1; });
  Peer peer(server);
  std::string seen, params;
  for (int page = 0; page < 3; ++page) {
    const Json answer = peer.ask(modern("1", "tools/list", params));
    for (auto& tool : answer["result"]["tools"]) seen += tool["name"].get<std::string>();
    CHECK(answer["result"].contains("nextCursor") == (page < 2));
    if (page < 2)
      params = R"("cursor":")" + answer["result"]["nextCursor"].get<std::string>() + "\"";
    // What comes and goes between two pages moves nothing.
    if (page == 0) {
      CHECK(server.remove_tool("t0"));
      CHECK_FALSE(server.remove_tool("t0"));
      server.expose("late", "A tool.", [] { return 1; });
    }
  }
  CHECK(seen == "t0t1t2t3t4t5t6t7late");
  for (const char* cursor : {R"("")", R"("x")", "7", R"("cmVzb3VyY2VzOjE=")"})
    CHECK(code(peer.ask(modern("1", "tools/list", fmt::format(R"("cursor":{})", cursor)))) ==
          -32602);
  CHECK(peer.ask(modern("1", "tools/list", R"("cursor":null)")).contains("result"));
}

TEST_CASE("forwarded tools are replaced in their places, and no call ever finds none") {
  Server server({.name = "front"});
  const auto tool = [](const char* name, const char* description) {
    return Tool{.name = name, .description = description, .inputSchema = {{"type", "object"}}};
  };
  std::atomic<int> old_calls = 0, new_calls = 0;
  const auto answer = [](std::atomic<int>& calls) {
    return [&calls](std::shared_ptr<ForwardedRequest> request) {
      ++calls;
      request->respond_tool_error("answered");
    };
  };
  server.add_forwarded({tool("a", "A."), tool("b", "B."), tool("c", "C.")}, {}, answer(old_calls));
  std::atomic<bool> done = false;
  std::thread caller([&] {
    Peer peer(server);
    while (!done || new_calls == 0) {
      const Json reply = peer.ask(modern("1", "tools/call", R"("name":"b")"));
      CHECK(reply.contains("result"));
    }
  });
  while (old_calls == 0) std::this_thread::yield();
  server.replace_forwarded({tool("b", "New B."), tool("d", "D.")}, {"a"}, answer(new_calls));
  done = true;
  caller.join();
  Peer peer(server);
  std::string listed;
  const Json answered = peer.ask(modern("1", "tools/list"));
  for (auto& one : answered["result"]["tools"]) listed += one["description"].get<std::string>();
  CHECK(listed == "New B.C.D.");
  CHECK_THROWS_AS(server.replace_forwarded({tool("no name", "X.")}, {}, answer(new_calls)),
                  std::invalid_argument);
}

TEST_CASE_FIXTURE(Fixture,
                  "pitfall 14: a listen is acknowledged first, and hears only what it asked for") {
  peer.send(listen("9007199254740993",
                   R"({"toolsListChanged":true,"promptsListChanged":false,)"
                   R"("resourceSubscriptions":["mem://a","mem://x/1","mem://none"]})"));
  Json message = peer.next();
  CHECK(message["method"] == "notifications/subscriptions/acknowledged");
  CHECK(message["params"]["notifications"].dump() ==
        R"({"toolsListChanged":true,"resourceSubscriptions":["mem://a","mem://x/1"]})");
  const char* id = "io.modelcontextprotocol/subscriptionId";
  CHECK(message["params"]["_meta"][id] == 9007199254740993);
  add_prompt(server, "more");                 // not asked for
  server.notify_resource_updated("mem://b");  // nor this
  server.notify_resource_updated("mem://x/1");
  message = peer.next();
  CHECK(message["method"] == "notifications/resources/updated");
  CHECK(message["params"]["uri"] == "mem://x/1");
  CHECK(message["params"]["_meta"][id] == 9007199254740993);
  server.expose("two", "A tool.", [] { return 2; });
  CHECK(peer.next()["method"] == "notifications/tools/list_changed");
  // The id is taken while it listens; cancelled, it hears nothing more and answers nothing.
  CHECK(code(peer.ask(modern_call("9007199254740993", "one"))) == -32600);
  peer.send(cancel("9007199254740993"));
  CHECK(peer.ask(modern_call("9007199254740993", "one"))["id"] == 9007199254740993);
  server.notify_resource_updated("mem://a");
  CHECK(peer.ask(modern_call("7", "one"))["id"] == 7);
}

TEST_CASE_FIXTURE(Fixture, "a listen ends with a result when the server leaves") {
  peer.send(listen("\"s\"", R"({"toolsListChanged":true})"));
  CHECK(peer.next()["method"] == "notifications/subscriptions/acknowledged");
  server.stop();
  const Json answer = peer.next();
  CHECK(answer["id"] == "s");
  CHECK(answer["result"]["resultType"] == "complete");
  CHECK(answer["result"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "s");
}

TEST_CASE_FIXTURE(Fixture, "a listen's filter must be an object of the right kinds") {
  for (const char* filter :
       {"7", "[]", R"({"resourceSubscriptions":"mem://a"})", R"({"resourceSubscriptions":[1]})"})
    CHECK(code(peer.ask(listen("1", filter))) == -32602);
  CHECK(code(peer.ask(modern("1", "subscriptions/listen"))) == -32602);
  CHECK(code(peer.ask(request("1", "subscriptions/listen"))) == -32602);  // no such legacy method
  peer.send(listen("1", "{}"));
  CHECK(peer.next()["params"]["notifications"].dump() == "{}");
}

TEST_CASE("open listens are limited, and a refused one is ended at once") {
  Server server({.name = "few", .max_subscriptions = 1});
  server.expose("one", "A tool.", [] { return 1; });
  Peer peer(server);
  peer.send(listen("1", R"({"toolsListChanged":true})"));
  CHECK(peer.next()["method"] == "notifications/subscriptions/acknowledged");
  peer.send(listen("2", R"({"toolsListChanged":true})"));
  CHECK(peer.next()["method"] == "notifications/subscriptions/acknowledged");
  CHECK(peer.next()["id"] == 2);
}

TEST_CASE_FIXTURE(
    Fixture,
    "a legacy session hears of lists once it has initialized, and of subscribed resources") {
  server.notify_list_changed("tools");  // not initialized: nobody to tell
  server.notify_resource_updated("mem://a");
  peer.initialize("2025-06-18");
  server.notify_resource_updated("mem://a");  // not subscribed
  server.expose("two", "A tool.", [] { return 2; });
  CHECK(peer.next()["method"] == "notifications/tools/list_changed");
  CHECK(peer.ask(request("1", "resources/subscribe", R"("uri":"mem://a")"))["result"].dump() ==
        "{}");
  CHECK(code(peer.ask(request("2", "resources/subscribe", R"("uri":"mem://none")"))) == -32002);
  CHECK(code(peer.ask(request("2", "resources/subscribe", R"("uri":7)"))) == -32602);
  server.notify_resource_updated("mem://a");
  const Json told = peer.next();
  CHECK(told["method"] == "notifications/resources/updated");
  CHECK(told["params"].dump() == R"({"uri":"mem://a"})");
  CHECK(peer.ask(request("3", "resources/unsubscribe", R"("uri":"mem://a")"))["result"].dump() ==
        "{}");
  server.notify_resource_updated("mem://a");
  CHECK(peer.ask(request("4", "ping"))["id"] == 4);
}

TEST_CASE("what a server does not have, it does not answer for") {
  Server server({.name = "bare"});
  server.expose("one", "A tool.", [] { return 1; });
  Peer peer(server);
  for (const char* method :
       {"prompts/list", "prompts/get", "resources/list", "completion/complete"})
    CHECK(code(peer.ask(modern("1", method))) == -32601);
  const Json capabilities = peer.ask(modern("1", "server/discover"))["result"]["capabilities"];
  CHECK(capabilities.dump() == R"({"logging":{},"tools":{"listChanged":true},)"
                               R"("extensions":{"io.modelcontextprotocol/tasks":{}}})");
  peer.initialize();
  CHECK(code(peer.ask(request("1", "prompts/list"))) == -32601);
}

TEST_CASE("URI templates match what they make, and nothing else") {
  using Expected = std::optional<UriVariables>;
  const std::tuple<const char*, const char*, Expected> cases[] = {
      {"a://t/{id}/data", "a://t/12/data", {{{"id", "12"}}}},
      {"a://t/{id}/data", "a://t/a%20b/data", {{{"id", "a b"}}}},
      {"a://t/{id}/data", "a://t/1/2/data", {}},
      {"a://t/{id}/data", "a://t//data", {}},
      {"a://t/{id}/data", "a://t/1/datax", {}},
      {"a://{x}-{y}", "a://1-2", {{{"x", "1"}, {"y", "2"}}}},
      {"f:///{+path}", "f:///a/b.txt", {{{"path", "a/b.txt"}}}},
      {"f:///{+path}/end", "f:///a/end/end", {{{"path", "a/end"}}}},
      {"f://{+dir}/{name}/lines/{n}",  // {+dir} must leave a "/" to those behind it
       "f://a/b/c/lines/3",
       {{{"dir", "a/b"}, {"name", "c"}, {"n", "3"}}}},
      {"a://{x}-end", "a://b-end-end", {{{"x", "b-end"}}}},
      {"a://{x}", "a://%2e%2e%2fb", {{{"x", "../b"}}}},
      {"a://h{/p,}", "a://h/x", {}},
      {"a://h{/p}", "a://h/x%2", {{{"p", "x%2"}}}},
      {"a://h{/p}{/q}", "a://h/x/y", {{{"p", "x"}, {"q", "y"}}}},
      {"a://h/{id", "a://h/1", {}}};
  for (auto& [uri_template, uri, expected] : cases) {
    CAPTURE(uri_template);
    CAPTURE(uri);
    CHECK(match_uri_template(uri_template, uri) == expected);
  }
  CHECK(!match_uri_template("a://{+x}/a/{+y}", "a://" + std::string(1 << 20, 'a')));
  for (const char* bad : {"", "a://b", "a://{x}{y}", "a://{?q}", "a://{", "a://{x*}"})
    CHECK_FALSE(check_uri_template(bad).empty());
}
