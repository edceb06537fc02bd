// Lists to their end, what is kept of them, changes that are heard of, and calls that wait.
#include "mcp/client.h"

#include <atomic>

#include "mcp/client_cache.h"
#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

// A client of a server in memory, of which all requests are counted by method.
struct Joined {
  explicit Joined(Era era, ClientOptions options = {}, ServerOptions server_options = {.name = "s"})
      : server(std::move(server_options)) {
    for (const char* name : {"one", "two", "three"})
      server.expose(name, "A tool.", [] { return 1; });
    server.add_resource(
        {.uri = "mem://a", .name = "a"},
        [](const std::string& uri, Context&) -> std::optional<std::vector<ResourceContents>> {
          return {{{uri, "t/p", "hello"}}};
        });
    server.add_prompt(
        {.name = "p", .arguments = {{.name = "x"}}},
        [](const std::map<std::string, std::string>& arguments, Context&) {
          return GetPromptResult{.messages = {{"user", {TextContent{arguments.at("x")}}}}};
        });
    auto [near_end, far_end] = make_memory_transports();
    served = std::async(std::launch::async, [this, t = std::move(far_end)]() mutable {
      server.serve(*t);
      t.reset();
    });
    options.era = era;
    auto connected = Client::connect(std::move(near_end), std::move(options));
    REQUIRE_MESSAGE(connected, (connected ? "" : connected.error().message));
    client = std::move(*connected);
  }
  ~Joined() {
    client.reset();
    server.stop();
    served.get();
  }
  Server server;
  std::future<void> served;
  std::unique_ptr<Client> client;
};

// Answers by hand; counts what was asked.
struct Scripted {
  explicit Scripted(std::function<std::string(const Json&)> answer, ClientOptions options = {}) {
    auto [near_end, far_end] = make_memory_transports();
    far = std::move(far_end);
    thread = std::jthread([this, answer] {
      while (true) {
        auto text = far->read();
        if (!text || !*text) return;
        const Json message = json(**text);
        if (!message.contains("id") || !message.contains("method")) continue;
        const bool discover = message["method"] == "server/discover";
        const std::string out =
            discover ? R"({"supportedVersions":["2026-07-28"],"capabilities":{},"ttlMs":60000})"
                     : answer(message);
        if (!discover) ++asked;
        if (!out.empty())
          (void)far->write(R"({"jsonrpc":"2.0","id":)" + to_text(message["id"]) + R"(,"result":)" +
                           out + "}");
      }
    });
    auto connected = Client::connect(std::move(near_end), std::move(options));
    REQUIRE_MESSAGE(connected, (connected ? "" : connected.error().message));
    client = std::move(*connected);
  }
  ~Scripted() {
    client.reset();
    far->close();
  }
  std::atomic<int> asked = 0;
  std::unique_ptr<Transport> far;
  std::jthread thread;
  std::unique_ptr<Client> client;
};

std::string tool_page(const std::string& name, const std::string& more) {
  return R"({"tools":[{"name":")" + name + R"(","inputSchema":{"type":"object"}}])" + more + "}";
}

}  // namespace

TEST_CASE("every list, prompts and reads work in both eras") {
  for (Era era : {Era::modern, Era::legacy}) {
    Joined j(era);
    CHECK(j.client->list_tools()->size() == 3);
    CHECK(j.client->list_resources()->at(0).uri == "mem://a");
    CHECK(j.client->list_prompts()->at(0).name == "p");
    const auto prompt = j.client->get_prompt("p", {{"x", "there"}});
    REQUIRE(prompt);
    CHECK(std::get<TextContent>(prompt->messages.at(0).content.value).text == "there");
    CHECK(j.client->ping());
  }
}

TEST_CASE("pages are read to the end, and an empty cursor is a cursor") {
  Scripted s([](const Json& m) {
    const Json cursor = m["params"].value("cursor", Json(nullptr));
    if (cursor.is_null()) return tool_page("a", R"(,"nextCursor":"")");
    return cursor == "" ? tool_page("b", R"(,"nextCursor":"x")") : tool_page("c", "");
  });
  const auto tools = s.client->list_tools();
  REQUIRE(tools);
  CHECK(tools->size() == 3);
  CHECK(s.asked == 3);
}

TEST_CASE("a list is kept for as long as the server says, until it says that it changed") {
  Scripted s(
      [](const Json&) { return tool_page("a", R"(,"ttlMs":60000,"cacheScope":"private")"); });
  CHECK(s.client->list_tools());
  CHECK(s.client->list_tools());
  CHECK(s.asked == 1);
  CHECK(s.client->list_tools({.fresh = true}));
  CHECK(s.asked == 2);
  Gate heard;
  REQUIRE(s.far->write(R"({"jsonrpc":"2.0","method":"notifications/tools/list_changed"})"));
  // The reader takes what comes in order: an answer after it says that it has been seen.
  CHECK(s.client->request("x", ""));
  CHECK(s.asked == 3);
  CHECK(s.client->list_tools());
  CHECK(s.asked == 4);
}

TEST_CASE("without a time to live nothing is kept") {
  for (const char* hint : {"", R"(,"ttlMs":0)", R"(,"ttlMs":-5)", R"(,"ttlMs":"60000")"}) {
    Scripted s([&](const Json&) { return tool_page("a", hint); });
    CHECK(s.client->list_tools());
    CHECK(s.client->list_tools());
    CHECK(s.asked == 2);
  }
}

TEST_CASE("clients that share a cache find public results, and private ones of their principal") {
  for (const char* scope : {"public", "private"}) {
    auto cache = std::make_shared<ClientCache>();
    auto answer = [&](const Json&) {
      return tool_page("a", R"(,"ttlMs":60000,"cacheScope":")" + std::string(scope) + "\"");
    };
    Scripted first(answer, {.cache = cache, .server = "s", .principal = "ann"});
    CHECK(first.client->list_tools());
    Scripted same(answer, {.cache = cache, .server = "s", .principal = "ann"});
    Scripted other(answer, {.cache = cache, .server = "s", .principal = "bob"});
    Scripted elsewhere(answer, {.cache = cache, .server = "t", .principal = "ann"});
    for (Scripted* s : {&same, &other, &elsewhere}) CHECK(s->client->list_tools());
    CHECK(same.asked == 0);
    CHECK(other.asked == (scope == std::string("public") ? 0 : 1));
    CHECK(elsewhere.asked == 1);
  }
}

TEST_CASE("a cache keeps within its room, oldest out first, and for a day at most") {
  ClientCache cache(8 * 1024);
  const auto now = ClientCache::Clock::now();
  const CacheHint long_time = CacheHint::of(R"({"ttlMs":1e300})");
  CHECK(long_time.ttl == std::chrono::hours(24));
  for (int i = 0; i < 100; ++i)
    cache.store({"s", "", "m", std::to_string(i)}, {std::string(500, 'x')}, long_time, now);
  CHECK(cache.bytes() <= 8 * 1024);
  CHECK(cache.find({"s", "", "m", "99"}, now));
  CHECK_FALSE(cache.find({"s", "", "m", "0"}, now));
  CHECK_FALSE(cache.find({"s", "", "m", "99"}, now + std::chrono::hours(25)));
  cache.store({"s", "", "m", "big"}, {std::string(2000, 'x')}, long_time, now);
  CHECK_FALSE(cache.find({"s", "", "m", "big"}, now));
}

TEST_CASE("a time to live that no double holds is none") {
  CHECK(CacheHint::of(R"({"ttlMs":1e999})").ttl.count() == 0);
  CHECK(CacheHint::of(R"({"ttlMs":1e300})").ttl == std::chrono::hours(24));
  CHECK(CacheHint::of(R"({"ttlMs":1.5})").ttl.count() == 1);
}

TEST_CASE("an older version that is remembered is not probed for again") {
  auto cache = std::make_shared<ClientCache>();
  for (int round = 0; round < 2; ++round) {
    auto [near_end, far_end] = make_memory_transports();
    auto connecting = std::async(std::launch::async, [&, t = std::move(near_end)]() mutable {
      return Client::connect(std::move(t), {.cache = cache, .server = "old"});
    });
    Json asked = json(**far_end->read());
    if (round == 0) {
      CHECK(asked["method"] == "server/discover");
      REQUIRE(
          far_end->write(make_error({to_text(asked["id"])}, {ErrorCode::method_not_found, ""})));
      asked = json(**far_end->read());
    }
    CHECK(asked["method"] == "initialize");
    REQUIRE(far_end->write(make_result({to_text(asked["id"])},
                                       R"({"protocolVersion":"2025-03-26","capabilities":{}})")));
    CHECK(connecting.get());
  }
}

TEST_CASE("a server that refuses our version and names it is asked once more") {
  auto [near_end, far_end] = make_memory_transports();
  auto connecting = std::async(std::launch::async, [t = std::move(near_end)]() mutable {
    return Client::connect(std::move(t));
  });
  Json asked = json(**far_end->read());
  REQUIRE(far_end->write(
      make_error({to_text(asked["id"])}, {ErrorCode::unsupported_protocol_version, "no",
                                          R"({"supported":["2026-07-28"],"requested":"x"})"})));
  asked = json(**far_end->read());
  CHECK(asked["method"] == "server/discover");
  REQUIRE(far_end->write(
      make_result({to_text(asked["id"])}, R"({"supportedVersions":["2026-07-28"]})")));
  auto client = connecting.get();
  REQUIRE(client);
  CHECK((*client)->modern());
}

TEST_CASE("changes are heard in both eras until listening stops") {
  for (Era era : {Era::modern, Era::legacy}) {
    Joined j(era);
    Gate tools, updated, again;
    std::atomic<int> events = 0;
    const auto listening =
        j.client->listen({.tools = true, .uris = {"mem://a"}}, [&](const ListenEvent& event) {
          ++events;
          if (event.kind == ListenEvent::Kind::tools) tools.open();
          if (event.kind == ListenEvent::Kind::updated && event.uri == "mem://a") updated.open();
        });
    REQUIRE_MESSAGE(listening, (listening ? "" : listening.error().message));
    CHECK(listening->honoured.tools);
    j.server.expose("four", "Another.", [] { return 4; });
    CHECK(tools.wait());
    j.server.notify_resource_updated("mem://a");
    CHECK(updated.wait());
    j.client->stop_listening(listening->id);
    CHECK(j.client->ping());
    const int before = events;
    j.server.notify_resource_updated("mem://a");
    CHECK(j.client->ping());
    CHECK(events == before);
  }
}

TEST_CASE("a listener hears that the connection ended") {
  Joined j(Era::modern);
  Gate ended;
  REQUIRE(j.client->listen({.tools = true}, [&](const ListenEvent& event) {
    if (event.kind == ListenEvent::Kind::ended) ended.open();
  }));
  j.client->close();
  CHECK(ended.wait());
}

TEST_CASE("progress keeps a call alive, up to the cap") {
  std::jthread flood;
  Scripted* server = nullptr;
  Scripted s([&](const Json& m) {
    const std::string token = to_text(m["params"]["_meta"]["progressToken"]);
    flood = std::jthread([&, token](std::stop_token stop) {
      while (!stop.stop_requested())
        (void)server->far->write(
            R"({"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":)" +
            token + "}}");
    });
    return std::string();
  });
  server = &s;
  const auto result = s.client->call_tool(
      "x", Json::object(),
      {.timeout = std::chrono::milliseconds(100), .max_timeout = std::chrono::milliseconds(300)});
  flood = {};
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::timeout);
  CHECK(contains(result.error().message, "within 300 ms, progress or not"));
}

TEST_CASE("garbage, unknown ids and tokens are passed over") {
  Scripted s([](const Json&) { return tool_page("a", ""); });
  for (const char* line :
       {"not json", "[]", "{}", "null", R"({"jsonrpc":"2.0","id":99,"result":{}})",
        R"({"jsonrpc":"2.0","id":"99","error":{"code":1}})",
        R"({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":[]}})",
        R"({"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":7}})",
        R"({"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged"})",
        R"({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":{}}})",
        R"({"jsonrpc":"2.0","id":1,"method":"sampling/createMessage"})", "\xff\xfe"})
    REQUIRE(s.far->write(line));
  CHECK(s.client->list_tools());
}

TEST_CASE("a call from a callback is refused instead of waiting for ever") {
  std::promise<ErrorCode> code;
  Client* client = nullptr;
  Scripted s([](const Json&) { return tool_page("a", ""); },
             {.on_notification = [&](const std::string&, std::string_view) {
               code.set_value(client->list_tools().error().code);
             }});
  client = s.client.get();
  REQUIRE(s.far->write(R"({"jsonrpc":"2.0","method":"notifications/x"})"));
  CHECK(code.get_future().get() == ErrorCode::internal_error);
}

TEST_CASE("log lines reach on_log, and the level goes along with each call") {
  std::promise<LogMessage> line;
  Joined j(Era::modern, {.on_log = [&](const LogMessage& m) { line.set_value(m); }});
  j.server.expose("log", "Logs.", [](Context& c) {
    c.log(LogLevel::debug, "too little", "l");
    c.log(LogLevel::warning, {{"k", 1}}, "l");
    return 1;
  });
  CHECK(j.client->set_log_level(LogLevel::info));
  CHECK(j.client->call_tool("log", Json::object()));
  const LogMessage seen = line.get_future().get();
  CHECK(seen.level == LogLevel::warning);
  CHECK(seen.data["k"] == 1);
}

TEST_CASE("an error that names no request is that of the only one in flight") {
  Scripted* server = nullptr;
  Scripted s([&](const Json& m) {
    if (m["method"] == "tools/list") return tool_page("a", "");
    (void)server->far->write(R"({"jsonrpc":"2.0","error":{"code":-32700,"message":"unreadable"}})");
    return std::string();
  });
  server = &s;
  const auto failed = s.client->call_tool("x", Json::object());
  REQUIRE_FALSE(failed);
  CHECK(failed.error().message == "unreadable");
  CHECK(s.client->list_tools());
}
