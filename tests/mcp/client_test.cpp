#include "mcp/client.h"

#include <atomic>

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

// A client and a server joined in memory.
struct Joined {
  explicit Joined(Era era = Era::automatic) {
    server.expose("add", "Add.", [](int a, int b) { return a + b; }, arg("a"), arg("b"));
    server.expose("steps", "Report.", [](Context& c) {
      for (int i = 1; i <= 3; ++i) c.progress(i, 3, "step");
      return 1;
    });
    server.expose("wait", "Wait for the end.", [this](Context& c) {
      Gate stop;
      std::stop_callback on_stop(c.stop_token(), [&] { stop.open(); });
      waits = true;
      began.open();
      c.progress(1);
      if (stop.wait()) stopped.open();
    });
    server.add_resource(
        {.uri = "mem://a", .name = "a"},
        [](const std::string& uri, Context&) -> std::optional<std::vector<ResourceContents>> {
          return {{{uri, "t/p", "hello"}}};
        });
    auto [near_end, far_end] = make_memory_transports();
    served = std::async(std::launch::async, [this, t = std::move(far_end)]() mutable {
      server.serve(*t);
      t.reset();
    });
    auto connected = Client::connect(std::move(near_end), {.info = {"tester", "1"}, .era = era});
    REQUIRE_MESSAGE(connected, (connected ? "" : connected.error().message));
    client = std::move(*connected);
  }
  ~Joined() {
    client.reset();
    server.stop();
    served.get();
  }
  std::atomic<bool> waits = false;
  Gate began, stopped;
  Server server{{.name = "joined", .instructions = "Hi."}};
  std::future<void> served;
  std::unique_ptr<Client> client;
};

// A server written by hand: answers each line with what `answer` says; empty: nothing.
struct Scripted {
  Scripted(std::function<std::string(const Json&)> answer, ClientOptions options = {}) {
    auto [near_end, far_end] = make_memory_transports();
    far = std::move(far_end);
    thread = std::jthread([this, answer] {
      while (true) {
        auto text = far->read();
        if (!text || !*text) return;
        const Json message = *parse_json(**text);
        if (!message.contains("id")) continue;
        const std::string out = answer(message);
        if (!out.empty())
          (void)far->write(R"({"jsonrpc":"2.0","id":)" + to_text(message["id"]) + "," + out + "}");
      }
    });
    connected = Client::connect(std::move(near_end), std::move(options));
  }
  ~Scripted() {
    if (connected) connected->reset();
    far->close();
  }
  std::unique_ptr<Transport> far;
  std::jthread thread;
  Result<std::unique_ptr<Client>> connected;
};

const char* kDiscover =
    R"("result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{}})";
const char* kUnknown = R"("error":{"code":-32601,"message":"unknown"})";
const char* kInitialize =
    R"("result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"old","version":"1"}})";

}  // namespace

TEST_CASE("the client speaks modern to a server that does, and legacy when told to") {
  Joined modern_one;
  CHECK(modern_one.client->modern());
  CHECK(modern_one.client->server_info()["name"] == "joined");
  CHECK(modern_one.client->instructions() == "Hi.");
  CHECK(modern_one.client->server_capabilities().contains("tools"));
  Joined legacy(Era::legacy);
  CHECK(legacy.client->protocol_version() == "2025-11-25");
  CHECK(legacy.client->server_info()["name"] == "joined");
  for (Joined* j : {&modern_one, &legacy}) {
    const auto tools = j->client->list_tools();
    REQUIRE(tools);
    CHECK(tools->size() == 3);
    std::string raw;
    const auto sum = j->client->call_tool("add", {{"a", 1}, {"b", 2}}, {}, &raw);
    REQUIRE(sum);
    CHECK(sum->structuredContent == R"({"result":3})");
    CHECK(contains(raw, "resultType") == j->client->modern());
    CHECK(j->client->call_tool("add", {{"a", 1}})->isError);
    CHECK(j->client->call_tool("none", Json::object()).error().code == ErrorCode::invalid_params);
    CHECK(j->client->read_resource("mem://a")->at(0).text == "hello");
    std::vector<double> seen;
    REQUIRE(j->client->call_tool("steps", Json::object(), {.on_progress = [&](const Json& p) {
                                   seen.push_back(p["progress"].get<double>());
                                 }}));
    CHECK(seen == std::vector<double>{1, 2, 3});
  }
}

TEST_CASE("a server that refuses server/discover, with whatever code, is initialized") {
  for (const char* refusal :
       {kUnknown, R"("error":{"code":-32602,"message":"bad"})",
        R"("error":{"code":1,"message":"odd"})", R"("error":{"code":0,"message":""})",
        R"("result":{})", R"("result":{"supportedVersions":["2099-01-01"]})",
        R"("result":{"supportedVersions":7})"}) {
    CAPTURE(refusal);
    Scripted s([&](const Json& m) {
      return std::string(m["method"] == "initialize" ? kInitialize : refusal);
    });
    REQUIRE(s.connected);
    CHECK((*s.connected)->protocol_version() == "2025-06-18");
    CHECK((*s.connected)->server_info()["name"] == "old");
  }
}

TEST_CASE("a server that is silent before initialize is initialized after a while") {
  Scripted s(
      [&](const Json& m) { return std::string(m["method"] == "initialize" ? kInitialize : ""); },
      {.connect_timeout = std::chrono::milliseconds(3000)});
  REQUIRE(s.connected);
  CHECK_FALSE((*s.connected)->modern());
}

TEST_CASE("a server that starts slowly and then refuses initialize is asked once more") {
  int asked = 0;
  Scripted slow(
      [&](const Json& message) {
        if (message["method"] == "initialize")
          return std::string(R"("error":{"code":-32022,"message":"this is 2026-07-28"})");
        return std::string(++asked == 1 ? "" : kDiscover);
      },
      {.connect_timeout = std::chrono::milliseconds(3000)});
  REQUIRE_MESSAGE(slow.connected, (slow.connected ? "" : slow.connected.error().message));
  CHECK((*slow.connected)->modern());
  CHECK(asked == 2);
}

TEST_CASE("what cannot be agreed on is an error that says so") {
  Scripted modern_only([](const Json&) { return std::string(kUnknown); }, {.era = Era::modern});
  REQUIRE_FALSE(modern_only.connected);
  CHECK(modern_only.connected.error().code == ErrorCode::unsupported_protocol_version);
  Scripted future([](const Json& m) {
    return std::string(m["method"] == "initialize" ? R"("result":{"protocolVersion":"2099-01-01"})"
                                                   : kUnknown);
  });
  REQUIRE_FALSE(future.connected);
  CHECK(contains(future.connected.error().message, "\"2099-01-01\""));
  auto [near_end, far_end] = make_memory_transports();
  far_end->close();
  const auto closed = Client::connect(std::move(near_end));
  REQUIRE_FALSE(closed);
  CHECK(closed.error().code == ErrorCode::closed);
}

TEST_CASE("hostile answers are errors, not crashes or endless loops") {
  int pages = 0;
  Scripted s([&](const Json& m) -> std::string {
    if (m["method"] == "server/discover")
      return R"("result":{"supportedVersions":["2026-07-28"],"capabilities":null,"_meta":null,"instructions":5})";
    if (m["method"] == "tools/list") {
      ++pages;
      return R"("result":{"tools":[],"nextCursor":"again"})";
    }
    if (m["method"] == "tools/call") return R"("result":{"content":"none"})";
    return R"("result":{"contents":[5]})";
  });
  REQUIRE(s.connected);
  Client& client = **s.connected;
  CHECK(client.server_capabilities() == Json::object());
  const auto endless = client.list_tools();
  REQUIRE_FALSE(endless);
  CHECK(contains(endless.error().message, "\"again\" came twice"));
  CHECK(pages == 2);
  CHECK_FALSE(client.call_tool("x", Json::object()));
  CHECK_FALSE(client.read_resource("u"));
  Scripted numbers([&](const Json& m) -> std::string {
    return m["method"] == "server/discover" ? kDiscover : R"("result":{"tools":7})";
  });
  REQUIRE(numbers.connected);
  CHECK_FALSE((*numbers.connected)->list_tools());
}

TEST_CASE("a stop_token cancels the call here and at the server") {
  Joined j;
  std::stop_source stop;
  auto call = std::async(std::launch::async, [&] {
    return j.client->call_tool("wait", Json::object(), {.stop_token = stop.get_token()});
  });
  REQUIRE(j.began.wait());
  stop.request_stop();
  const auto result = call.get();
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::cancelled);
  CHECK(j.stopped.wait());
}

TEST_CASE("a call that takes longer than its timeout is given up and cancelled at the server") {
  Joined j;
  // On a busy machine a call may be given up before its handler has begun; then it never does.
  for (auto timeout = std::chrono::milliseconds(50); !j.waits; timeout *= 2) {
    REQUIRE(timeout < kLong);
    const auto result = j.client->call_tool("wait", Json::object(), {.timeout = timeout});
    REQUIRE_FALSE(result);
    CHECK(result.error().code == ErrorCode::timeout);
    CHECK(contains(result.error().message, "within " + std::to_string(timeout.count()) + " ms"));
  }
  CHECK(j.stopped.wait());
}

TEST_CASE("no progress is reported once the call has been left") {
  Joined j;
  for (int round = 0; round < 50; ++round) {
    std::stop_source stop;
    auto seen =
        std::make_unique<int>(0);  // freed right after: a late callback would be a use after free
    (void)j.client->call_tool("steps", Json::object(),
                              {.timeout = std::chrono::milliseconds(0),
                               .on_progress = [p = seen.get()](const Json&) { ++*p; }});
    seen.reset();
  }
  CHECK(j.client->call_tool("add", {{"a", 1}, {"b", 1}}));
}

TEST_CASE("a server that closes fails the calls in flight and those after, each once") {
  Joined j;
  auto call =
      std::async(std::launch::async, [&] { return j.client->call_tool("wait", Json::object()); });
  REQUIRE(j.began.wait());
  j.server.stop();
  CHECK(call.get().error().code == ErrorCode::closed);
  CHECK(j.client->call_tool("add", {{"a", 1}, {"b", 1}}).error().code == ErrorCode::closed);
  CHECK(j.client->closed());
}

TEST_CASE("every asynchronous request gets exactly one result while the connection breaks") {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> results = 0;
    constexpr int kThreads = 4, kEach = 50;
    {
      Joined j;
      std::vector<std::jthread> threads;
      for (int t = 0; t < kThreads; ++t)
        threads.emplace_back([&] {
          for (int i = 0; i < kEach; ++i)
            j.client->request_async("tools/call", R"("name":"add","arguments":{"a":1,"b":2})",
                                    {.on_result = [&](Result<std::string_view>) { ++results; }});
        });
      j.server.stop();
      threads.clear();
      j.client.reset();
    }
    CHECK(results == kThreads * kEach);
  }
}

TEST_CASE("two threads share a client") {
  Joined j;
  std::vector<std::jthread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const auto sum = j.client->call_tool("add", {{"a", t}, {"b", i}});
        CHECK((sum && sum->structuredContent == "{\"result\":" + std::to_string(t + i) + "}"));
      }
    });
}

TEST_CASE("a legacy server's ping is answered, and other requests are refused") {
  Scripted s([](const Json& m) {
    return std::string(m["method"] == "initialize" ? kInitialize
                       : m.contains("method")      ? kUnknown
                                                   : "");
  });
  REQUIRE(s.connected);
  auto [near_end, far_end] = make_memory_transports();
  auto connecting = std::async(std::launch::async, [t = std::move(near_end)]() mutable {
    return Client::connect(std::move(t), {.era = Era::legacy});
  });
  CHECK(contains(**far_end->read(), "initialize"));
  REQUIRE(far_end->write(R"({"jsonrpc":"2.0","id":"p","method":"ping"})"));
  CHECK(**far_end->read() == R"({"jsonrpc":"2.0","id":"p","result":{}})");
  REQUIRE(far_end->write(R"({"jsonrpc":"2.0","id":5,"method":"roots/list"})"));
  CHECK(json(**far_end->read())["error"]["code"] == -32601);
  REQUIRE(far_end->write(R"({"jsonrpc":"2.0","id":1,)" + std::string(kInitialize) + "}"));
  CHECK(connecting.get());
}
