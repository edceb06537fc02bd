// Calls in flight: cancellation, progress, logs, what handlers throw, limits, the end of input,
// forwarding.
#include <fmt/format.h>

#include <atomic>
#include <latch>
#include <set>

#include "mcp/client.h"
#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

std::string text_of(const Json& answer) {
  return answer["result"]["content"][0]["text"].get<std::string>();
}

// Waits for its cancellation; says when it began and whether it was stopped.
struct Waiting {
  Gate began, stopped;
  void operator()(Context& context) {
    Gate stop;
    std::stop_callback on_stop(context.stop_token(), [&] { stop.open(); });
    began.open();
    if (stop.wait()) stopped.open();
  }
};

void expose_wait(Server& server, Waiting& waiting) {
  server.expose("wait", "Waits to be cancelled.",
                [&waiting](Context& context) { waiting(context); });
}

}  // namespace

TEST_CASE("whatever a handler throws becomes this call's isError, and the server lives on") {
  Server server;
  server.expose("tool_error", "d", []() -> int { throw ToolError("plain words"); });
  server.expose("exception", "d", []() -> int { throw std::runtime_error("deep"); });
  server.expose("number", "d", []() -> int { throw 5; });
  server.expose("nan", "d", [] { return std::numeric_limits<double>::quiet_NaN(); });
  server.expose("bad_meta", "d", [](Context& c) {
    c.set_meta("k", 1);
    CallToolResult result = CallToolResult::text("x");
    result._meta = "no object";
    return result;
  });
  Peer peer(server);
  auto says = [&](const char* tool) {
    const Json answer = peer.ask(modern_call("1", tool));
    CHECK(answer["result"]["isError"] == true);
    CHECK(answer["result"]["resultType"] == "complete");
    return text_of(answer);
  };
  CHECK(says("tool_error") == "plain words");
  CHECK(says("exception") == "exception failed: deep");
  CHECK(says("number") == "number failed: it threw something that is no std::exception");
  CHECK(contains(says("nan"), "JSON has no NaN"));
  CHECK(contains(says("bad_meta"), "bad_meta failed: "));
}

TEST_CASE("peers 11: a cancelled call sees its stop_token, answers nothing, and others go on") {
  Waiting waiting;
  Server server;
  expose_wait(server, waiting);
  server.expose("echo", "d", [](int n) { return n; }, arg("n"));
  Peer peer(server);
  for (bool new_era : {false, true}) {
    CAPTURE(new_era);
    Waiting& w = waiting;
    peer.send(new_era ? modern_call("\"c\"", "wait") : call("7", "wait"));
    REQUIRE(w.began.wait());
    CHECK(peer.ask(call("8", "echo", R"({"n":5})"))["id"] == 8);
    peer.send(cancel("99"));     // unknown: ignored
    peer.send(cancel("\"7\""));  // another id
    peer.send(R"({"jsonrpc":"2.0","method":"notifications/cancelled"})");
    peer.send(cancel("{}"));
    peer.send(cancel(new_era ? "\"c\"" : "7"));
    REQUIRE(w.stopped.wait());
    // Its id is free again, and the next thing that comes is the next answer.
    CHECK(peer.ask(call(new_era ? "\"c\"" : "7", "echo",
                        R"({"n":6})"))["result"]["structuredContent"]["result"] == 6);
  }
}

TEST_CASE("an id that is in flight is refused, and free once its answer is out") {
  Waiting waiting;
  Server server;
  expose_wait(server, waiting);
  server.expose("echo", "d", [](int n) { return n; }, arg("n"));
  Peer peer(server);
  peer.send(call("1", "wait"));
  REQUIRE(waiting.began.wait());
  const Json answer = peer.ask(call("1", "echo", R"({"n":1})"));
  CHECK(answer["error"]["code"] == -32600);
  CHECK(contains(answer["error"]["message"].get<std::string>(), "still running"));
  peer.send(cancel("1"));
  for (int i = 0; i < 500; ++i)
    REQUIRE(peer.ask(call("2", "echo", R"({"n":1})")).contains("result"));
}

TEST_CASE(
    "progress comes only for a token, with the token's type, growing, and never after the answer") {
  Server server;
  server.expose("steps", "d", [](Context& c) {
    c.progress(0, 3);
    c.progress(1, 3, "one");
    c.progress(1, 3, "again");
    c.progress(0.5);
    c.progress(2.5, {}, "more");
    return 1;
  });
  Peer peer(server);
  CHECK(peer.ask(call("1", "steps")).contains("result"));
  for (const char* token : {"\"t\"", "12345678901"}) {
    peer.send(call("2", "steps", "{}", fmt::format(R"(,"_meta":{{"progressToken":{}}})", token)));
    std::vector<double> seen;
    Json message = peer.next();
    for (; message.contains("method"); message = peer.next()) {
      CHECK(message["method"] == "notifications/progress");
      CHECK(to_text(message["params"]["progressToken"]) == token);
      seen.push_back(message["params"]["progress"].get<double>());
    }
    CHECK(seen == std::vector<double>{0, 1, 2.5});
    CHECK(message["id"] == 2);
  }
  peer.initialize("2024-11-05");
  peer.send(call("3", "steps", "{}", R"(,"_meta":{"progressToken":1})"));
  for (Json message = peer.next(); message.contains("method"); message = peer.next())
    CHECK_FALSE(message["params"].contains("message"));
}

TEST_CASE("progress from many threads at once stays in order and ends with the answer") {
  Server server;
  server.expose("burst", "d", [](Context& c) {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t)
      threads.emplace_back([&c, t] {
        for (int i = 0; i < 50; ++i) {
          c.progress(i * 4 + t);
          c.set_meta(fmt::format("k{}", t), i);
        }
      });
  });
  Peer peer(server);
  for (int round = 0; round < 5; ++round) {
    peer.send(modern_call("1", "burst", "{}", R"(,"progressToken":1)"));
    double last = -1;
    Json message = peer.next();
    for (; message.contains("method"); message = peer.next()) {
      const double now = message["params"]["progress"].get<double>();
      CHECK(now > last);
      last = now;
    }
    CHECK(last == 199);
    CHECK(message["result"]["_meta"]["k3"] == 49);
    CHECK(message["result"]["_meta"].contains("io.modelcontextprotocol/serverInfo"));
  }
}

TEST_CASE("log messages go to those who asked for their level") {
  Server server;
  server.expose("talk", "d", [](Context& c) {
    c.log(LogLevel::debug, "d");
    c.log(LogLevel::info, "i");
    c.log(LogLevel::error, "e");
  });
  Peer peer(server);
  auto logged = [&](const std::string& text) {
    std::string out;
    peer.send(text);
    for (Json m = peer.next(); m.contains("method"); m = peer.next()) {
      CHECK(m["method"] == "notifications/message");
      out += m["params"]["data"].get<std::string>();
    }
    return out;
  };
  CHECK(logged(modern_call("1", "talk")) == "");
  CHECK(logged(modern_call("1", "talk", "{}", R"(,"io.modelcontextprotocol/logLevel":"debug")")) ==
        "die");
  CHECK(logged(modern_call("1", "talk", "{}",
                           R"(,"io.modelcontextprotocol/logLevel":"emergency")")) == "");
  CHECK(logged(call("1", "talk")) == "ie");
  peer.ask(request("2", "logging/setLevel", R"("level":"error")"));
  CHECK(logged(call("1", "talk")) == "e");
  CHECK(logged(modern_call("1", "talk")) == "");
}

TEST_CASE("a thousand piped calls are all answered, each once") {
  Server server;
  server.expose("echo", "d", [](int n) { return n; }, arg("n"));
  Peer peer(server);
  for (int i = 0; i < 1000; ++i)
    peer.send(modern_call(std::to_string(i), "echo", fmt::format(R"({{"n":{}}})", i)));
  std::set<int> seen;
  for (int i = 0; i < 1000; ++i) {
    const Json answer = peer.next();
    CHECK(answer["result"]["structuredContent"]["result"] == answer["id"]);
    CHECK(seen.insert(answer["id"].get<int>()).second);
  }
  CHECK(seen.size() == 1000);
}

TEST_CASE("peers 4: a server whose threads and queue are full says busy at once") {
  Waiting waiting;
  Server server({.max_running_calls = 1, .max_queued_calls = 1});
  expose_wait(server, waiting);
  server.expose("echo", "d", [] { return 1; });
  Peer peer(server);
  peer.send(call("1", "wait"));
  REQUIRE(waiting.began.wait());
  peer.send(call("2", "echo"));
  const Json answer = peer.ask(call("3", "echo"));
  CHECK(answer["id"] == 3);
  CHECK(contains(text_of(answer), "busy: 1 calls are running and 1 wait"));
  peer.send(cancel("1"));
  CHECK(peer.next()["id"] == 2);
}

TEST_CASE("a client with too many calls at once is told the limit, and others find room") {
  Waiting waiting;
  Server server({.max_running_calls = 4, .max_calls_per_session = 2});
  expose_wait(server, waiting);
  server.expose("echo", "d", [] { return 1; });
  server.add_prompt({.name = "p"}, [](const PromptArguments&, Context&) -> GetPromptResult {
    return {.messages = {{"user", {TextContent{"hi"}}}}};
  });
  Peer greedy(server), other(server);
  greedy.send(call("1", "wait"));
  greedy.send(call("2", "wait"));
  const Json refused = greedy.ask(call("3", "echo"));
  CHECK(refused["id"] == 3);
  CHECK(refused["result"]["isError"] == true);
  CHECK(contains(text_of(refused), "busy: 2 calls of this client run or wait, the limit"));
  CHECK(contains(text_of(refused), "max_calls_per_session"));
  const Json prompt = greedy.ask(request("4", "prompts/get", R"("name":"p")"));
  CHECK(contains(prompt["error"]["message"].get<std::string>(), "max_calls_per_session"));
  // An id that was refused is free, one that runs is not; what runs no handler is not counted.
  CHECK(contains(text_of(greedy.ask(call("3", "echo"))), "busy"));
  CHECK(greedy.ask(call("1", "echo"))["error"]["code"] == -32600);
  CHECK(greedy.ask(request("5", "ping"))["result"].empty());
  for (const char* id : {"1", "2", "3"}) CHECK(other.ask(call(id, "echo"))["result"].size() > 0);
  // Room comes back with each call that ends.
  greedy.send(cancel("1"));
  greedy.send(cancel("2"));
  Json answer = greedy.ask(call("6", "echo"));
  for (int i = 0; i < 100000 && answer["result"].value("isError", false); ++i)
    answer = greedy.ask(call("6", "echo"));
  CHECK(answer["result"]["structuredContent"]["result"] == 1);
}

TEST_CASE("the end of input lets calls finish, then cancels what goes on") {
  Gate began, go;
  Server server({.drain = std::chrono::seconds(20)});
  server.expose("soon", "d", [&] {
    began.open();
    go.wait();
    return 1;
  });
  auto [mine, theirs] = make_memory_transports();
  // A transport that ends reading on request, while writing still works, as a closed stdin does.
  struct HalfClosed final : Transport {
    explicit HalfClosed(Transport& t) : inner(t) {}
    Result<std::optional<std::string>> read() override {
      auto text = inner.read();
      if (text && *text && **text == "EOF") return std::optional<std::string>();
      return text;
    }
    Result<void> write(std::string_view m) override { return inner.write(m); }
    void close() noexcept override { inner.close(); }
    Transport& inner;
  };
  {
    HalfClosed half(*theirs);
    auto served = std::async(std::launch::async, [&] { server.serve(half); });
    REQUIRE(mine->write(call("1", "soon")));
    REQUIRE(began.wait());
    REQUIRE(mine->write("EOF"));
    go.open();
    served.get();
    CHECK(contains(**mine->read(), "\"id\":1"));  // answered before serve() returned
  }
  Waiting waiting;
  Server impatient({.drain = std::chrono::milliseconds(1)});
  expose_wait(impatient, waiting);
  HalfClosed half(*theirs);
  auto served = std::async(std::launch::async, [&] { impatient.serve(half); });
  REQUIRE(mine->write(call("1", "wait")));
  REQUIRE(waiting.began.wait());
  REQUIRE(mine->write("EOF"));
  served.get();
  CHECK(waiting.stopped.wait());
}

TEST_CASE("a peer that stops reading holds up neither a cancellation nor the end of serve()") {
  // Writes block until close(), as a full pipe does.
  struct Stuck final : Transport {
    Result<std::optional<std::string>> read() override {
      std::unique_lock lock(mutex);
      changed.wait(lock, [&] { return closed || !in.empty(); });
      if (in.empty()) return std::optional<std::string>();
      auto text = std::move(in.front());
      in.erase(in.begin());
      if (text == "EOF") return std::optional<std::string>();
      return text;
    }
    Result<void> write(std::string_view) override {
      std::unique_lock lock(mutex);
      blocked = true;
      changed.notify_all();
      changed.wait(lock, [&] { return closed; });
      return fail(ErrorCode::closed, "closed");
    }
    void close() noexcept override {
      std::scoped_lock lock(mutex);
      closed = true;
      changed.notify_all();
    }
    void feed(std::string text) {
      std::scoped_lock lock(mutex);
      in.push_back(std::move(text));
      changed.notify_all();
    }
    bool wait_blocked() {
      std::unique_lock lock(mutex);
      return changed.wait_for(lock, kLong, [&] { return blocked; });
    }
    std::mutex mutex;
    std::condition_variable changed;
    std::vector<std::string> in;
    bool closed = false, blocked = false;
  };
  Gate stopped;
  Stuck stuck;
  Server server({.drain = std::chrono::milliseconds(1)});
  server.expose("noisy", "d", [&](Context& c) {
    std::stop_callback on_stop(c.stop_token(), [&] { stopped.open(); });
    c.progress(1);  // blocks
  });
  auto served = std::async(std::launch::async, [&] { server.serve(stuck); });
  stuck.feed(modern_call("1", "noisy", "{}", R"(,"progressToken":1)"));
  REQUIRE(stuck.wait_blocked());
  stuck.feed(cancel("1"));
  CHECK(stopped.wait());
  stuck.feed("EOF");
  CHECK(served.wait_for(kLong) == std::future_status::ready);
}

namespace {

// A server all of whose calls are handed to the test.
struct Forwarding {
  Forwarding() {
    server.add_forwarded({{.name = "far", .description = "d", .inputSchema = {{"type", "object"}}}},
                         {{.uriTemplate = "far://{x}", .name = "far"}},
                         [this](std::shared_ptr<ForwardedRequest> request) {
                           {
                             std::scoped_lock lock(mutex);
                             taken = std::move(request);
                           }
                           came.count_down();
                         });
  }
  std::shared_ptr<ForwardedRequest> take() {
    std::scoped_lock lock(mutex);
    return std::exchange(taken, nullptr);
  }
  std::mutex mutex;
  std::shared_ptr<ForwardedRequest> taken;
  std::latch came{1};
  Server server;
};

const char* kUpstream =
    R"({"resultType":"complete","content":[{"type":"text","text":"é"},)"
    R"({"type":"resource_link","uri":"u://x","name":"n","mimeType":"m"}], "structuredContent" : {"a":1.50}})";

}  // namespace

TEST_CASE("a forwarded result goes out byte by byte, or as each older version understands it") {
  for (std::string_view version : kVersions) {
    CAPTURE(version);
    Forwarding f;
    Peer peer(f.server);
    const bool new_era = is_modern_version(version);
    if (!new_era) peer.initialize(version);
    peer.send(new_era ? modern_call("1", "far", R"({ "x" : [1.0] })")
                      : call("1", "far", R"({ "x" : [1.0] })"));
    f.came.wait();
    auto request = f.take();
    CHECK(request->method() == "tools/call");
    CHECK(request->name() == "far");
    CHECK(request->arguments() == R"({ "x" : [1.0] })");
    CHECK(request->protocol_version() == version);
    CHECK_FALSE(request->wants_progress());
    request->respond_result(kUpstream);
    request->respond_result("{}");  // harmless
    request->respond_error({});
    const std::string line = peer.line();
    if (new_era) {
      CHECK(line == fmt::format(R"({{"jsonrpc":"2.0","id":1,"result":{}}})", kUpstream));
    } else if (version >= "2025-06-18") {
      CHECK(line == fmt::format(R"({{"jsonrpc":"2.0","id":1,"result":{{{}}})",
                                std::string_view(kUpstream).substr(25)));
    } else {
      CHECK(
          json(line)["result"] ==
          json(
              R"~({"content":[{"type":"text","text":"é"},{"type":"text","text":"n: u://x (m)"}]})~"));
    }
    CHECK(peer.ask(modern("2", "tools/list"))["id"] == 2);  // nothing else came for it
  }
}

TEST_CASE("resultType does not reach a legacy peer, wherever it stands") {
  Forwarding f;
  Peer peer(f.server);
  peer.send(call("1", "far"));
  f.came.wait();
  f.take()->respond_result(R"({"content":[],"resultType":"complete","isError":false})");
  CHECK(peer.line() == R"({"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":false}})");
}

TEST_CASE(
    "what only 2026-07-28 has is taken out of a forwarded result, the rest stays as it came") {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"resultType":"complete","content":[], "_meta" : {"io.modelcontextprotocol/serverInfo":{"name":"w"}}})",
       R"({"content":[]})"},
      {R"({"_meta":{ "k" : 1.50,"io.modelcontextprotocol/serverInfo":{}},"resultType":"complete", "content" :[ ]})",
       R"({"_meta":{ "k" : 1.50}, "content" :[ ]})"},
      {R"({"content":[{"type":"text","text":"x","_meta":{"io.modelcontextprotocol/serverInfo":1}}],"ttlMs":5,"cacheScope":"private"})",
       R"({"content":[{"type":"text","text":"x","_meta":{"io.modelcontextprotocol/serverInfo":1}}]})"}};
  for (auto& [upstream, want] : cases) {
    Forwarding f;
    Peer peer(f.server);
    peer.initialize("2025-11-25");
    peer.send(call("1", "far"));
    f.came.wait();
    f.take()->respond_result(upstream);
    CHECK(peer.line() == fmt::format(R"({{"jsonrpc":"2.0","id":1,"result":{}}})", want));
  }
}

TEST_CASE("forwarded progress carries the peer's own token, and broken progress is dropped") {
  Forwarding f;
  Peer peer(f.server);
  peer.send(modern_call("1", "far", "{}", R"(,"progressToken":"mine")"));
  f.came.wait();
  auto request = f.take();
  CHECK(request->wants_progress());
  CHECK(request->meta()["progressToken"] == "mine");
  request->progress(json(R"({"progressToken":77,"progress":1,"total":2,"message":"m"})"));
  for (const char* broken : {"{}", R"({"progress":"2"})", "[]", "7", "null"})
    request->progress(json(broken));
  request->respond_tool_error("gone");
  request->progress(json(R"({"progress":9})"));
  CHECK(
      peer.line() ==
      R"({"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"mine","progress":1,"total":2,"message":"m"}})");
  const Json answer = peer.next();
  CHECK(answer["result"]["isError"] == true);
  CHECK(text_of(answer) == "gone");
  CHECK(peer.ask(modern("2", "tools/list"))["id"] == 2);
}

TEST_CASE("a cancelled forwarded request tells the forwarder and answers nothing") {
  Forwarding f;
  Peer peer(f.server);
  peer.send(call("1", "far"));
  f.came.wait();
  auto request = f.take();
  Gate stopped;
  std::stop_callback on_stop(request->stop_token(), [&] { stopped.open(); });
  peer.send(cancel("1"));
  CHECK(stopped.wait());
  request->respond_result(kUpstream);
  CHECK(peer.ask(test::request("2", "ping"))["id"] == 2);
}

TEST_CASE("a forwarded request may outlive its peer and its server") {
  std::shared_ptr<ForwardedRequest> kept;
  {
    Forwarding f;
    Peer peer(f.server);
    peer.send(modern("1", "resources/read", R"("uri":"far://x")"));
    f.came.wait();
    kept = f.take();
    CHECK(kept->method() == "resources/read");
    peer.close();
  }
  CHECK(kept->stop_token().stop_requested());
  kept->progress(json(R"({"progress":1})"));
  kept->respond_result("{}");
  kept.reset();
}

TEST_CASE("a forwarder that throws costs one answer") {
  Server server;
  server.add_forwarded(
      {{.name = "far", .description = "d", .inputSchema = {{"type", "object"}}}}, {},
      [](std::shared_ptr<ForwardedRequest>) { throw std::runtime_error("no worker"); });
  Peer peer(server);
  const Json answer = peer.ask(call("1", "far"));
  CHECK(answer["error"]["code"] == -32603);
  CHECK(answer["error"]["message"] == "internal error: no worker");
  CHECK(peer.ask(call("1", "far"))["id"] == 1);
}

TEST_CASE("notify_all reaches every peer, and drain refuses new calls as not begun") {
  Server server;
  server.expose("echo", "d", [] { return 1; });
  Peer a(server), b(server);
  a.ask(request("1", "ping"));
  b.ask(request("1", "ping"));
  server.notify_all("notifications/x", R"({"k":1})");
  CHECK(a.next()["params"]["k"] == 1);
  CHECK(b.next()["method"] == "notifications/x");
  server.drain();
  CHECK(a.ask(call("2", "echo"))["error"]["code"] == static_cast<int>(ErrorCode::not_begun));
  CHECK(a.ask(request("3", "ping"))["id"] == 3);
}
