// What the client does over HTTP beyond plain calls: sessions, resumption, HTTP+SSE, headers that
// repeat arguments, questions and tasks.
#include <atomic>

#include "http_support.h"
#include "mcp/client.h"
#include "mcp/http_client.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;
using namespace std::chrono_literals;

namespace {

std::unique_ptr<Client> connect(const std::string& url, ClientOptions options = {}) {
  auto transport = make_http_transport(url);
  REQUIRE(transport);
  auto client = Client::connect(std::move(*transport), std::move(options));
  REQUIRE_MESSAGE(client, (client ? "" : client.error().message));
  return std::move(*client);
}

// More tools for a Fixture's server.
void add_tools(Server& server) {
  server.expose("slow", "Lets its stream go.", [](Context& c) {
    c.release_stream(50ms);
    std::mutex mutex;
    std::condition_variable_any never;
    std::unique_lock lock(mutex);
    never.wait_for(lock, c.stop_token(), 150ms, [] { return false; });
    return std::string(c.cancelled() ? "cancelled" : "came back");
  });
  server.expose("ask", "Asks.", [](Context& c) {
    const Json form = {{"type", "object"}, {"properties", {{"name", {{"type", "string"}}}}}};
    return c.elicit("name", {"Name?", form}).content.value("name", "");
  });
  server.expose("job", "A task.", [](Context& c) {
    const bool is_task = c.start_task({.poll_interval = 10ms});
    const Json form = {{"type", "object"}, {"properties", {{"name", {{"type", "string"}}}}}};
    return c.elicit("name", {"Name?", form}).content.value("name", "") +
           (is_task ? " as a task" : " as a call");
  });
  server.add_tool({.name = "where",
                   .description = "Wants its argument in a header.",
                   .inputSchema = Json::parse(R"({"type":"object","properties":
                     {"region":{"type":"string","x-mcp-header":"Region"}}})")},
                  [](const Json& arguments, Context&) {
                    return CallToolResult::text(arguments.value("region", "nowhere"));
                  });
}

ClientHandlers naming() {
  ClientHandlers out;
  out.elicit_form = [](const ElicitRequest&, std::stop_token) {
    return ElicitResult{ElicitResult::Action::accept, {{"name", "Ada"}}};
  };
  return out;
}

std::string text_of(const Result<CallToolResult>& result) {
  REQUIRE_MESSAGE(result, (result ? "" : result.error().message));
  return std::get<TextContent>(result->content.at(0).value).text;
}

}  // namespace

TEST_CASE("a client's session ends with it") {
  Fixture f;
  auto client = connect(f.http().url(), {.era = Era::legacy});
  CHECK(f.http().sessions() == 1);
  client.reset();
  CHECK(f.http().sessions() == 0);
}

TEST_CASE("a session that was lost is begun again, and listeners hear of it") {
  Server server({.name = "restarted"});
  server.expose("one", "One.", [] { return 1; });
  auto http = *HttpServer::listen(server, {});
  const int port = http->port();
  std::thread serving([&] { http->serve(); });
  Happening resumed;
  auto client = connect(http->url(), {.era = Era::legacy});
  REQUIRE(client->listen({.tools = true}, [&](const ListenEvent& event) {
    if (event.kind == ListenEvent::Kind::resumed) resumed.happen();
  }));
  http->stop();
  serving.join();
  http.reset();
  http = *HttpServer::listen(server, {.port = port});  // knows no session of before
  serving = std::thread([&] { http->serve(); });
  const auto one = client->call_tool("one", Json::object());
  REQUIRE_MESSAGE(one, (one ? "" : one.error().message));
  CHECK(one->structuredContent == R"({"result":1})");
  CHECK(resumed.wait());
  CHECK(http->sessions() == 1);
  client.reset();
  http->stop();
  serving.join();
}

TEST_CASE("a stream that the server let go is resumed for its answer") {
  Fixture f;
  add_tools(f.server());
  for (Era era : {Era::legacy, Era::modern}) {
    auto client = connect(f.http().url(), {.era = era});
    CHECK(text_of(client->call_tool("slow", Json::object())) == R"({"result":"came back"})");
  }
}

TEST_CASE("questions are answered over HTTP in both eras, and over HTTP+SSE") {
  Fixture f;
  add_tools(f.server());
  const std::string base = f.http().url();
  const std::string sse = base.substr(0, base.size() - 3) + "sse";
  for (Era era : {Era::legacy, Era::modern}) {
    auto client = connect(base, {.era = era, .handlers = naming()});
    CHECK(text_of(client->call_tool("ask", Json::object())) == R"({"result":"Ada"})");
  }
  auto old = connect(sse, {.handlers = naming()});
  CHECK(text_of(old->call_tool("ask", Json::object())) == R"({"result":"Ada"})");
}

TEST_CASE("HTTP+SSE is found where the newer way is not there, and carries calls and changes") {
  Fixture f({.path = "/elsewhere"});
  const std::string url = "http://127.0.0.1:" + std::to_string(f.port()) + "/mcp";
  auto client = connect(url);
  CHECK_FALSE(client->modern());
  CHECK(client->list_tools()->size() == 3);
  Happening changed;
  REQUIRE(client->listen({.tools = true}, [&](const ListenEvent& event) {
    if (event.kind == ListenEvent::Kind::tools) changed.happen();
  }));
  f.server().notify_list_changed("tools");
  CHECK(changed.wait());
  std::vector<double> seen;
  CHECK(client->call_tool("steps", Json::object(), {.on_progress = [&](const Json& p) {
                            seen.push_back(p["progress"].get<double>());
                          }}));
  CHECK(seen == std::vector<double>{1, 2});
  std::stop_source stop;
  std::thread canceller([&] {
    f.entered.wait();
    stop.request_stop();
  });
  CHECK(client->call_tool("hold", Json::object(), {.stop_token = stop.get_token()}).error().code ==
        ErrorCode::cancelled);
  canceller.join();
  CHECK(f.cancelled.wait());  // up to 2025-11-25 by a message, since leaving means nothing
}

TEST_CASE("arguments that a tool marks go into headers, known to be marked or not") {
  Fixture f;
  add_tools(f.server());
  for (const bool listed : {true, false}) {
    CAPTURE(listed);
    auto client = connect(f.http().url());
    if (listed) REQUIRE(client->list_tools());
    CHECK(text_of(client->call_tool("where", {{"region", "Zürich, \"Nord\" "}})) ==
          "Zürich, \"Nord\" ");
    CHECK(text_of(client->call_tool("where", Json::object())) == "nowhere");
  }
}

TEST_CASE("a task is followed over HTTP, where its id goes into a header") {
  Fixture f;
  add_tools(f.server());
  auto client = connect(f.http().url(), {.handlers = naming()});
  std::string id;
  CHECK(text_of(client->call_tool("job", Json::object(), {.on_task = [&](const TaskInfo& task) {
                                    id = task.id;
                                  }})) == R"({"result":"Ada as a task"})");
  auto other = connect(f.http().url());
  CHECK(text_of(other->follow_task(id)) == R"({"result":"Ada as a task"})");
}
