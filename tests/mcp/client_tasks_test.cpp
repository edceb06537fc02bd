// The client's side of tasks: calls that go on after their request was answered.
#include <atomic>

#include "mcp/client.h"
#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;
using std::chrono::milliseconds;

namespace {

constexpr TaskOptions kQuick = {.poll_interval = milliseconds(10), .message = "on it"};

// A server whose tools go on as tasks where they can, and its clients, all in memory.
struct Tasked {
  Tasked() {
    server.expose("wait", "Goes on until it is let go.", [this](Context& c) {
      const bool is_task = c.start_task(kQuick);
      Gate stop;
      std::stop_callback on_stop(c.stop_token(), [&] {
        stopped.open();
        stop.open();
      });
      std::stop_callback on_release(release.get_token(), [&] { stop.open(); });
      stop.wait();
      return std::string(is_task ? "as a task" : "as a call");
    });
    server.expose("greet", "Asks for a name, twice.", [](Context& c) {
      c.start_task(kQuick);
      const Json form = json(R"({"type":"object","properties":{"name":{"type":"string"}}})");
      std::string out;
      for (const char* message : {"First?", "Last?"})
        (out += ' ') += c.elicit("name", {message, form}).content.value("name", "");
      return out;
    });
    server.expose("broken", "Fails as a request.", [](Context& c) -> int {
      c.start_task(kQuick);
      throw ProtocolError({ErrorCode::internal_error, "the disk is full", R"({"free":0})"});
    });
    server.expose("sorry", "Fails as a tool.", [](Context& c) -> int {
      c.start_task(kQuick);
      throw ToolError("no such city");
    });
  }
  ~Tasked() {
    clients.clear();
    server.stop();
    for (auto& one : served) one.get();
  }
  Client& connect(ClientOptions options = {}) {
    auto [near_end, far_end] = make_memory_transports();
    served.push_back(std::async(std::launch::async, [this, t = std::move(far_end)]() mutable {
      server.serve(*t);
      t.reset();
    }));
    auto connected = Client::connect(std::move(near_end), std::move(options));
    REQUIRE_MESSAGE(connected, (connected ? "" : connected.error().message));
    clients.push_back(std::move(*connected));
    return *clients.back();
  }
  Gate stopped;
  std::stop_source release;
  Server server{{.name = "tasked"}};
  std::vector<std::future<void>> served;
  std::vector<std::unique_ptr<Client>> clients;
};

std::string text_of(const Result<CallToolResult>& result) {
  REQUIRE_MESSAGE(result, (result ? "" : result.error().message));
  return std::get<TextContent>(result->content.at(0).value).text;
}

ClientHandlers naming(std::atomic<int>& asked) {
  ClientHandlers out;
  out.elicit_form = [&asked](const ElicitRequest& request, std::stop_token) {
    ++asked;
    return ElicitResult{ElicitResult::Action::accept,
                        {{"name", request.message == "First?" ? "Ada" : "Lovelace"}}};
  };
  return out;
}

}  // namespace

TEST_CASE("a call that goes on as a task is followed to its result") {
  Tasked t;
  Client& client = t.connect();
  std::vector<TaskInfo> told;
  std::string raw;
  const auto result = client.call_tool("wait", Json::object(),
                                       {.on_task =
                                            [&](const TaskInfo& task) {
                                              told.push_back(task);
                                              t.release.request_stop();
                                            }},
                                       &raw);
  CHECK(contains(text_of(result), "as a task"));
  CHECK(contains(raw, "as a task"));
  REQUIRE(told.size() >= 2);
  CHECK(told.front().status == TaskInfo::Status::working);
  CHECK(told.front().message == "on it");
  CHECK(told.front().poll_interval == milliseconds(10));
  CHECK(told.front().ttl);
  CHECK(told.back().status == TaskInfo::Status::completed);
  CHECK_FALSE(told.front().id.empty());
}

TEST_CASE("a task's questions are answered by the handlers, each once") {
  Tasked t;
  std::atomic<int> asked = 0;
  Client& client = t.connect({.handlers = naming(asked)});
  CHECK(contains(text_of(client.call_tool("greet", Json::object())), "Ada Lovelace"));
  CHECK(asked == 2);
}

TEST_CASE("a task's question that has no answer ends the call, and the task") {
  Tasked t;
  ClientHandlers handlers;
  handlers.elicit_form = [](const ElicitRequest&, std::stop_token) -> ElicitResult {
    throw std::runtime_error("the user has gone");
  };
  Client& client = t.connect({.handlers = handlers});
  std::string id;
  const auto result =
      client.call_tool("greet", Json::object(), {.on_task = [&](auto& task) { id = task.id; }});
  REQUIRE_FALSE(result);
  CHECK(contains(result.error().message, "the user has gone"));
  CHECK(client.get_task(id)->status == TaskInfo::Status::cancelled);
}

TEST_CASE("a task that fails is the call's error; a tool's own failure is its result") {
  Tasked t;
  Client& client = t.connect();
  const auto broken = client.call_tool("broken", Json::object());
  REQUIRE_FALSE(broken);
  CHECK(broken.error().code == ErrorCode::internal_error);
  CHECK(contains(broken.error().message, "the disk is full"));
  CHECK(broken.error().data == R"({"free":0})");
  const auto sorry = client.call_tool("sorry", Json::object());
  CHECK(text_of(sorry) == "no such city");
  CHECK(sorry->isError);
}

TEST_CASE("a task can be left, and come back to by its id from another client") {
  Tasked t;
  std::string id;
  {
    Client& first = t.connect();
    auto started = first.start_tool("wait", Json::object());
    REQUIRE(started);
    const auto* task = std::get_if<TaskInfo>(&*started);
    REQUIRE(task);
    id = task->id;
    first.close();
  }
  Client& second = t.connect();
  const auto now = second.get_task(id);
  REQUIRE(now);
  CHECK(now->status == TaskInfo::Status::working);
  t.release.request_stop();
  CHECK(contains(text_of(second.follow_task(id)), "as a task"));
  CHECK(second.get_task("none").error().code == ErrorCode::invalid_params);
}

TEST_CASE("questions can be answered by hand, some now and some later") {
  Tasked t;
  std::atomic<int> never = 0;
  Client& client = t.connect({.handlers = naming(never)});  // so that it may ask
  const auto started = client.start_tool("greet", Json::object());
  REQUIRE(started);
  const std::string id = std::get<TaskInfo>(*started).id;
  for (const char* name : {"Grace", "Hopper"}) {
    Json questions;
    do questions = client.get_task(id)->input_requests;
    while (questions.empty());
    CHECK(questions.size() == 1);
    const std::string key = questions.begin().key();
    CHECK(questions.begin().value()["method"] == "elicitation/create");
    CHECK(client.update_task(id, {{key, {{"action", "accept"}, {"content", 5}}}}).error().code ==
          ErrorCode::invalid_params);
    CHECK(client.update_task(id, {{"unknown", Json::object()}}));
    REQUIRE(client.update_task(id, {{key, {{"action", "accept"}, {"content", {{"name", name}}}}}}));
    while (client.get_task(id)->input_requests.contains(key)) {
    }
  }
  CHECK(contains(text_of(client.follow_task(id)), "Grace Hopper"));
  CHECK(never == 0);
}

TEST_CASE("cancelling a followed call, or its time running out, cancels the task") {
  for (const bool by_caller : {true, false}) {
    CAPTURE(by_caller);
    Tasked t;
    Client& client = t.connect();
    std::stop_source stop;
    std::string id;
    CallOptions options = {.stop_token = stop.get_token(), .on_task = [&](const TaskInfo& task) {
                             id = task.id;
                             if (by_caller) stop.request_stop();
                           }};
    if (!by_caller) options.max_timeout = milliseconds(50);
    const auto result = client.call_tool("wait", Json::object(), options);
    REQUIRE_FALSE(result);
    CHECK(result.error().code == (by_caller ? ErrorCode::cancelled : ErrorCode::timeout));
    CHECK(t.stopped.wait());
    CHECK(client.get_task(id)->status == TaskInfo::Status::cancelled);
  }
}

TEST_CASE("a task cancelled at the server is a cancelled call") {
  Tasked t;
  Client& client = t.connect();
  Client& other = t.connect();
  const auto result = client.call_tool(
      "wait", Json::object(),
      {.on_task = [&](const TaskInfo& task) { (void)other.cancel_task(task.id); }});
  REQUIRE_FALSE(result);
  CHECK(result.error().code == ErrorCode::cancelled);
}

TEST_CASE("a client that wants no tasks, or speaks an older version, gets none") {
  Tasked t;
  t.release.request_stop();
  CHECK(contains(text_of(t.connect({.tasks = false}).call_tool("wait", Json::object())),
                 "as a call"));
  Client& legacy = t.connect({.era = Era::legacy});
  CHECK(contains(text_of(legacy.call_tool("wait", Json::object())), "as a call"));
  const auto started = legacy.start_tool("wait", Json::object());
  REQUIRE(started);
  CHECK(std::holds_alternative<CallToolResult>(*started));
}

TEST_CASE("tasks that are none are errors, not endless loops") {
  struct {
    const char *create, *get, *says;
  } const cases[] = {
      {R"("resultType":"task")", "", "taskId"},
      {R"("resultType":"task","taskId":"t")", "", "status"},
      {R"("resultType":"task","taskId":"t","status":"resting")", "", "resting"},
      {R"("resultType":"task","taskId":"t","status":"completed")",
       R"("taskId":"t","status":"completed")", "result"},
      {R"("resultType":"task","taskId":"t","status":"failed")",
       R"("taskId":"t","status":"failed","error":3)", "error"},
      {R"("resultType":"task","taskId":"t","status":"input_required")",
       R"("taskId":"t","status":"input_required","inputRequests":[])", "inputRequests"},
  };
  for (const auto& one : cases) {
    CAPTURE(one.create);
    auto [near_end, far_end] = make_memory_transports();
    std::jthread script([&, far = std::move(far_end)] {
      while (true) {
        auto text = far->read();
        if (!text || !*text) return;
        const Json message = json(**text);
        if (!message.contains("id")) continue;
        std::string result = R"("resultType":"complete",)";
        if (message["method"] == "server/discover")
          result += R"("supportedVersions":["2026-07-28"],"capabilities":{})";
        else if (message["method"] == "tools/call")
          result = one.create;
        else
          result += one.get;
        (void)far->write(R"({"jsonrpc":"2.0","id":)" + to_text(message["id"]) + R"(,"result":{)" +
                         result + "}}");
      }
    });
    auto client = Client::connect(std::move(near_end));
    REQUIRE(client);
    const auto result = (*client)->call_tool("x", Json::object());
    REQUIRE_FALSE(result);
    CHECK(result.error().code == ErrorCode::invalid_request);
    CHECK(contains(result.error().message, one.says));
    client->reset();
  }
}
