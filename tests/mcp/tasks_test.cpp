// Calls that go on as tasks: made, asked after, answered, cancelled, listened to, forgotten; and
// clients that know none.
#include "mcp/tasks.h"

#include <fmt/format.h>

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

constexpr const char* kDeclared =
    R"({"elicitation":{},"extensions":{"io.modelcontextprotocol/tasks":{}}})";

int code(const Json& answer) {
  return answer.contains("error") ? answer["error"]["code"].get<int>() : 0;
}

struct Fixture {
  Fixture() {
    server.expose("work", "Works until the gate opens.", [this](Context& c) {
      std::stop_callback stop(c.stop_token(), [this] { gate.open(); });
      c.start_task({.ttl = std::chrono::minutes(1), .message = "begun"});
      c.progress(1, 2, "half");
      described.open();
      gate.wait();
      c.set_meta("k", 7);
      if (c.cancelled()) stopped.open();
      return 42;
    });
    server.expose("fails", "Fails as a tool.", [](Context& c) -> int {
      c.start_task({});
      throw ToolError("no luck");
    });
    server.expose("breaks", "Fails as a request.", [](Context& c) -> int {
      c.start_task({.required = true});
      throw ProtocolError({ErrorCode::internal_error, "broke", R"({"why":1})"});
    });
    server.expose("asks", "Asks twice with the same key.", [](Context& c) {
      c.start_task({});
      const ElicitRequest question{
          "Name?",
          {{"type", "object"}, {"properties", {{"n", {{"type", "string"}}}}}, {"required", {"n"}}}};
      std::string out;
      for (int i = 0; i < 2; ++i) out += c.elicit("name", question).content.value("n", "-");
      return out;
    });
  }
  Json ask(std::string_view method, std::string_view params,
           std::string_view capabilities = kDeclared) {
    return peer.ask(request(
        std::to_string(++id), method,
        fmt::format(R"({},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28",)"
                    R"("io.modelcontextprotocol/clientCapabilities":{}}})",
                    params, capabilities)));
  }
  Json call(std::string_view tool, std::string_view capabilities = kDeclared) {
    return ask("tools/call", fmt::format(R"("name":"{}","arguments":{{}})", tool), capabilities);
  }
  Json get(const Json& task) { return ask("tasks/get", "\"taskId\":" + task["taskId"].dump()); }
  Json update(const Json& task, std::string_view responses) {
    return ask("tasks/update",
               fmt::format(R"("taskId":{},"inputResponses":{})", task["taskId"].dump(), responses));
  }
  // Listens to the task, then reads until it is in this state: no polling, no waiting in vain.
  Json until(const Json& task, std::string_view status) {
    peer.send(
        request("\"l\"", "subscriptions/listen",
                fmt::format(R"("notifications":{{"taskIds":[{},"nobody's"]}},)"
                            R"("_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28",)"
                            R"("io.modelcontextprotocol/clientCapabilities":{}}})",
                            task["taskId"].dump(), kDeclared)));
    // What an earlier listen was told before its cancellation came may still stand before it.
    Json acknowledged = peer.next();
    while (acknowledged["method"] != "notifications/subscriptions/acknowledged")
      acknowledged = peer.next();
    const Json honoured = acknowledged["params"]["notifications"];
    CHECK(honoured.dump() == fmt::format(R"({{"taskIds":[{}]}})", task["taskId"].dump()));
    Json now = get_while_listening(task);
    while (now["status"] != status) {
      now = peer.next()["params"];
      REQUIRE(now.contains("status"));
    }
    peer.send(cancel("\"l\""));
    return now;
  }
  // The answer to tasks/get; changes that are told before it are in it too.
  Json get_while_listening(const Json& task) {
    peer.send(request(
        "\"g\"", "tasks/get",
        fmt::format(
            R"("taskId":{},"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28",)"
            R"("io.modelcontextprotocol/clientCapabilities":{}}})",
            task["taskId"].dump(), kDeclared)));
    while (true) {
      const Json message = peer.next();
      if (message.contains("result")) return message["result"];
    }
  }

  Gate gate, described, stopped;
  int id = 0;
  Server server{{.name = "test"}};
  Peer peer{server};
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "a call becomes a task, is asked after, and its result is kept") {
  const Json created = call("work")["result"];
  CHECK(created["resultType"] == "task");
  CHECK(created["status"] == "working");
  CHECK(created["ttlMs"] == 60000);
  CHECK(created["pollIntervalMs"] == 1000);
  CHECK(created["statusMessage"] == "begun");
  CHECK(created["taskId"].get<std::string>().size() == 32);
  CHECK(created["createdAt"].get<std::string>().size() == sizeof("2026-01-01T00:00:00.000Z") - 1);
  for (const char* key : {"result", "error", "inputRequests", "requestState", "task", "ttl"})
    CHECK_FALSE(created.contains(key));
  REQUIRE(described.wait());
  Json now = get(created)["result"];
  CHECK(now["resultType"] == "complete");
  CHECK(now["status"] == "working");
  CHECK(now["statusMessage"] == "half");
  gate.open();
  now = until(created, "completed");
  CHECK(now["result"]["structuredContent"]["result"] == 42);
  CHECK(now["result"]["_meta"]["k"] == 7);
  CHECK_FALSE(now["result"]["_meta"].contains("io.modelcontextprotocol/related-task"));
  CHECK(get(created)["result"]["result"]["structuredContent"]["result"] == 42);
}

TEST_CASE_FIXTURE(Fixture, "a tool's failure completes a task, a request's failure fails it") {
  Json now = until(call("fails")["result"], "completed");
  CHECK(now["result"]["isError"] == true);
  CHECK(now["result"]["content"][0]["text"] == "no luck");
  now = until(call("breaks")["result"], "failed");
  CHECK(now["error"].dump() == R"({"code":-32603,"message":"broke","data":{"why":1}})");
  CHECK_FALSE(now.contains("result"));
}

TEST_CASE_FIXTURE(Fixture,
                  "a cancelled task is cancelled at once, for ever, and its handler hears") {
  const Json created = call("work")["result"];
  REQUIRE(described.wait());
  const std::string params = "\"taskId\":" + created["taskId"].dump();
  const Json acknowledged = ask("tasks/cancel", params)["result"];
  CHECK(acknowledged["resultType"] == "complete");
  CHECK_FALSE(acknowledged.contains("status"));
  CHECK(get(created)["result"]["status"] == "cancelled");
  CHECK(stopped.wait());
  CHECK(code(ask("tasks/cancel", params)) == 0);  // again: the same
  CHECK(get(created)["result"]["status"] == "cancelled");
}

TEST_CASE_FIXTURE(Fixture, "a task asks, takes the right answers, and uses no key twice") {
  const Json created = call("asks")["result"];
  Json now = until(created, "input_required");
  CHECK(now["inputRequests"]["name"]["method"] == "elicitation/create");
  CHECK(now["inputRequests"]["name"]["params"]["message"] == "Name?");
  CHECK(code(update(created, R"({"name":{"action":"accept","content":{}}})")) == -32602);
  CHECK(code(update(created, R"([])")) == -32602);
  CHECK(update(created, R"({"other":1})")["result"]["resultType"] == "complete");
  CHECK(get(created)["result"]["status"] == "input_required");
  CHECK(code(update(created, R"({"name":{"action":"accept","content":{"n":"A"}}})")) == 0);
  now = until(created, "input_required");
  while (!now["inputRequests"].contains("name#2")) now = get(created)["result"];
  CHECK(now["inputRequests"].size() == 1);
  // The old key is answered for good.
  CHECK(code(update(created, R"({"name":{"action":"accept","content":{"n":"Z"}}})")) == 0);
  CHECK(code(update(created, R"({"name#2":{"action":"accept","content":{"n":"B"}}})")) == 0);
  now = until(created, "completed");
  CHECK(now["result"]["structuredContent"]["result"] == "AB");
}

TEST_CASE_FIXTURE(Fixture, "who does not declare the extension gets no task") {
  gate.open();
  CHECK(call("work", "{}")["result"]["structuredContent"]["result"] == 42);
  const Json refused = call("breaks", "{}");
  CHECK(code(refused) == -32021);
  const Json required = {{"extensions", {{"io.modelcontextprotocol/tasks", Json::object()}}}};
  CHECK(refused["error"]["data"]["requiredCapabilities"] == required);
  const Json created = call("work")["result"];
  for (const char* method : {"tasks/get", "tasks/update", "tasks/cancel"})
    CHECK(code(ask(method, "\"taskId\":" + created["taskId"].dump(), "{}")) == -32021);
  CHECK(code(ask("subscriptions/listen", R"("notifications":{"taskIds":[]})", "{}")) == -32021);
  // Older clients neither, whatever they say.
  peer.initialize("2025-11-25");
  const Json old = peer.ask(request(
      "99", "tools/call", R"("name":"work","arguments":{},"task":{"ttl":1,"pollInterval":1})"));
  CHECK(old["result"]["structuredContent"]["result"] == 42);
  CHECK(code(peer.ask(request("98", "tasks/get", "\"taskId\":\"x\""))) != 0);
}

TEST_CASE_FIXTURE(Fixture,
                  "an unknown task is invalid params, and tasks/list and result are gone") {
  for (const char* method : {"tasks/get", "tasks/cancel", "tasks/update"}) {
    CHECK(code(ask(method, R"("taskId":"none","inputResponses":{})")) == -32602);
    CHECK(code(ask(method, R"("taskId":7,"inputResponses":{})")) == -32602);
  }
  for (const char* method : {"tasks/list", "tasks/result"})
    CHECK(code(ask(method, R"("taskId":"none")")) == -32601);
  const Json discovered = ask("server/discover", R"("x":1)")["result"]["capabilities"];
  CHECK(discovered["extensions"].contains("io.modelcontextprotocol/tasks"));
  CHECK_FALSE(discovered.contains("tasks"));
}

TEST_CASE("tasks are limited in number; beyond that a call runs as it always did") {
  Gate gate;
  Server server({.name = "few", .max_tasks = 1});
  server.expose(
      "work", "Works.",
      [&](bool wait, Context& c) {
        const bool task = c.start_task({});
        if (wait) gate.wait();
        return task;
      },
      arg("wait"));
  Peer peer(server);
  auto call = [&](const char* wait) {
    return peer.ask(
        request("1", "tools/call",
                fmt::format(R"("name":"work","arguments":{{"wait":{}}},)"
                            R"("_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28",)"
                            R"("io.modelcontextprotocol/clientCapabilities":{}}})",
                            wait, kDeclared)))["result"];
  };
  CHECK(call("true")["resultType"] == "task");
  CHECK(call("false")["structuredContent"]["result"] == false);
  gate.open();
}

TEST_CASE("a task belongs to its principal, and is forgotten after its time") {
  TaskStore store({.max_tasks = 2});
  auto task = store.create({.principal = "a", .options = {.ttl = std::chrono::milliseconds(1)}});
  REQUIRE(task);
  CHECK(store.find(task->id(), "a") == task);
  CHECK(store.find(task->id(), "b") == nullptr);
  CHECK(store.find("", "a") == nullptr);
  task->complete("{}");
  CHECK_FALSE(task->expired(Task::Clock::now() - std::chrono::seconds(1)));
  CHECK(task->expired(Task::Clock::now() + std::chrono::seconds(1)));
  task->cancel();  // too late
  CHECK(contains(task->members(true), R"("status":"completed")"));
}

TEST_CASE("a server that leaves cancels its tasks") {
  Gate begun;
  auto server = std::make_unique<Server>(ServerOptions{.name = "leaving"});
  server->expose("work", "Works.", [&](Context& c) {
    c.start_task({});
    Gate stop;
    std::stop_callback on_stop(c.stop_token(), [&] { stop.open(); });
    begun.open();
    CHECK(stop.wait());
    return 1;
  });
  {
    Peer peer(*server);
    peer.send(request("1", "tools/call",
                      fmt::format(R"("name":"work","arguments":{{}},)"
                                  R"("_meta":{{"io.modelcontextprotocol/protocolVersion":)"
                                  R"("2026-07-28",)"
                                  R"("io.modelcontextprotocol/clientCapabilities":{}}})",
                                  kDeclared)));
    CHECK(peer.next()["result"]["status"] == "working");
    REQUIRE(begun.wait());
  }  // the peer leaves: the task goes on
  CHECK(server->calls_in_flight() == 1);
  server.reset();
}
