// The client's snippets of docs/mcp.md, run.
#include <atomic>

#include "tests/mcp/docs_support.h"

using namespace docs;

namespace {

// What the client's chapter talks to.
struct Station {
  Station() {
    server.expose(
        "measure", "Measure.",
        [](const std::string& what) {
          if (what != "rain") throw mcp::ToolError("only rain can be measured");
          return 4.5;
        },
        arg("what"));
    server.expose("photo", "A photo.", [] {
      return mcp::CallToolResult{
          .content = {{mcp::ImageContent{mcp::base64_encode("png"), "image/png"}}}};
    });
    server.expose("scan", "Reports.", [](Context& context) {
      context.log(mcp::LogLevel::info, "scanning", "radar");
      for (int i = 1; i <= 3; ++i) context.progress(i, 3, "sector");
      return true;
    });
    server.expose("wait", "Waits to be cancelled.", [](Context& context) {
      std::mutex mutex;
      std::condition_variable_any never;
      std::unique_lock lock(mutex);
      never.wait(lock, context.stop_token(), [] { return false; });
    });
    server.expose("ask", "Asks everything.", [](Context& context) {
      const Json form = Json::parse(R"({"type":"object","properties":{"name":{"type":"string"},
                                        "city":{"type":"string","default":"Bern"}}})");
      auto answers = context.ask(
          {{"who", mcp::ElicitRequest{"Who?", form}},
           {"page", mcp::ElicitRequest{.message = "Open it.", .url = "https://example.com/1"}},
           {"roots", mcp::ListRootsRequest{}},
           {"model",
            mcp::CreateMessageRequest{.messages = {{"user", {{mcp::TextContent{"hi"}}}}}}}});
      return mcp::to_text(std::get<mcp::ElicitResult>(answers.at("who")).content) +
             std::get<mcp::CreateMessageResult>(answers.at("model")).text();
    });
    server.expose("forecast", "Takes long.", [](Context& context) -> std::string {
      context.start_task({.poll_interval = 20ms, .message = "reckoning"});
      const auto answer = context.elicit("city", {"Where?", Json::parse(R"({"type":"object",
        "properties":{"name":{"type":"string"}}})")});
      return "sunny in " + answer.content.value("name", "");
    });
    using Contents = std::optional<std::vector<mcp::ResourceContents>>;
    server.add_resource({.uri = "weather://now", .name = "Now"},
                        [](const std::string& uri, Context&) -> Contents {
                          return {{{uri, "text/plain", "rain"}}};
                        });
    server.add_resource({.uri = "weather://radar", .name = "Radar"},
                        [](const std::string& uri, Context&) -> Contents {
                          return {{{.uri = uri, .mimeType = "image/png", .blob = "cG5n"}}};
                        });
    server.add_resource_template({.uriTemplate = "weather://{city}/today", .name = "Today"},
                                 [](const std::string& uri, Context&) -> Contents {
                                   return {{{uri, "text/plain", "sun"}}};
                                 });
    server.add_completer("weather://{city}/today", "city",
                         [](const std::string&, const mcp::PromptArguments&) {
                           return mcp::Completion{.values = {"basel", "bern"}};
                         });
    server.add_prompt({.name = "report",
                       .description = "Report.",
                       .arguments = {{.name = "city", .description = "Where.", .required = true}}},
                      [](const mcp::PromptArguments& given, Context&) -> mcp::GetPromptResult {
                        return {.messages = {{"user", {mcp::TextContent{given.at("city")}}}}};
                      });
    server.add_completer("report", "city", [](const std::string&, const mcp::PromptArguments&) {
      return mcp::Completion{.values = {"bern"}};
    });
  }
  mcp::Server server{{.name = "station", .version = "1", .instructions = "Ask about rain."}};
};

mcp::ClientHandlers handlers() {
  // snippet client-handlers
  mcp::ClientHandlers handlers;
  handlers.elicit_form = [](const mcp::ElicitRequest& request, std::stop_token) {
    std::cerr << request.message << "\n";  // show the form of request.requestedSchema
    return mcp::ElicitResult{mcp::ElicitResult::Action::accept, {{"name", "Ada"}}};
  };
  handlers.elicit_url = [](const mcp::ElicitRequest& request, std::stop_token) {
    std::cerr << request.message << " " << request.url << "\n";  // ask, then open it
    return mcp::ElicitResult{mcp::ElicitResult::Action::accept};
  };
  handlers.sample = [](const mcp::CreateMessageRequest& request, std::stop_token) {
    return mcp::CreateMessageResult{.content = request.messages.back().content, .model = "echo"};
  };
  handlers.roots = [](std::stop_token) {
    return std::vector<mcp::Root>{{.uri = "file:///home/ada/work", .name = "work"}};
  };
  // end
  return handlers;
}

}  // namespace

TEST_CASE("connecting") {
  const std::string hello = GPUMCP_PROCESS_SERVER;
  {
    // snippet client-stdio
    auto child = mcp::make_process_transport({hello});  // started here; its command, no shell
    if (!child) throw std::runtime_error(child.error().message);
    auto client = mcp::Client::connect(std::move(*child), {.info = {"my-client", "1.0"}});
    if (!client) throw std::runtime_error(client.error().message);
    auto result = (*client)->call_tool("pid", Json::object());
    // end
    CHECK(need(std::move(result)).structuredContent.find("result") == 2);
  }
  Station station;
  auto http = need(mcp::HttpServer::listen(station.server, {}));
  std::thread serving([&] { http->serve(); });
  {
    const std::string token;
    const std::string url = http->url();
    // snippet client-http
    auto transport = mcp::make_http_transport(url, {.token = token});  // http://HOST:PORT/mcp
    if (!transport) throw std::runtime_error(transport.error().message);
    auto client = mcp::Client::connect(std::move(*transport));
    // end
    CHECK(need(std::move(client))->modern());
  }
  {
    const std::string base = "http://127.0.0.1:" + std::to_string(http->port());
    // snippet client-sse
    auto client = mcp::Client::connect(*mcp::make_http_transport(base + "/sse"));
    // end
    CHECK(need(std::move(client))->protocol_version() == "2025-11-25");
  }
  http->stop();
  serving.join();
}

TEST_CASE("versions and capabilities") {
  Station station;
  auto [near_end, far_end] = mcp::make_memory_transports();
  auto served = std::async(std::launch::async, [&, far = std::move(far_end)]() mutable {
    station.server.serve(*far);
    far.reset();
  });
  auto transport = std::move(near_end);
  {
    // snippet version-client
    auto client = mcp::Client::connect(std::move(transport), {.era = mcp::Era::automatic});
    std::cout << (*client)->protocol_version() << "\n";     // 2026-07-28
    std::cout << (*client)->server_info()["name"] << "\n";  // for people, not for decisions
    std::cout << (*client)->instructions() << "\n";
    // end
    CHECK((*client)->protocol_version() == "2026-07-28");
    // snippet capabilities-client
    const Json& can = (*client)->server_capabilities();
    if (can.contains("prompts")) std::cout << (*client)->list_prompts()->size() << " prompts\n";
    // end
    CHECK(can.contains("prompts"));
    // snippet ping
    if (auto alive = (*client)->ping({.timeout = 2s}); !alive)
      std::cerr << alive.error().message << "\n";
    // end
    CHECK((*client)->ping());
  }
  served.get();
}

TEST_CASE("asking a server") {
  for (mcp::Era era : {mcp::Era::modern, mcp::Era::legacy}) {
    Station station;
    std::atomic<int> lines = 0;
    // snippet log-client
    const auto on_log = [&](const mcp::LogMessage& line) {
      std::cerr << mcp::log_level_name(line.level) << " " << line.logger << ": "
                << mcp::to_text(line.data) << "\n";
      ++lines;
    };
    // end
    Joined joined(station.server, {.era = era, .handlers = handlers(), .on_log = on_log});
    mcp::Client& client = *joined;

    // snippet list-tools
    auto tools = client.list_tools();  // all pages; error() says what went wrong
    for (const mcp::Tool& tool : *tools)
      std::cout << tool.name << ": " << tool.description << "\n"
                << mcp::to_text(tool.inputSchema) << "\n";
    // end
    CHECK(tools->size() == 6);

    // snippet call-tool
    auto result = client.call_tool("measure", {{"what", "rain"}});
    if (!result) {
      std::cerr << result.error().message << "\n";  // the connection, or the request
    } else if (result->isError) {
      std::cerr << "the tool says no\n";  // its text is for the model, in content
    } else {
      std::cout << result->structuredContent << "\n";  // {"result":4.5}, as text
    }
    // end
    CHECK(result->structuredContent == R"({"result":4.5})");
    CHECK(need(client.call_tool("measure", {{"what", "snow"}})).isError);

    // snippet content
    const auto photo = client.call_tool("photo", {});
    for (const mcp::ContentBlock& block : photo->content) {
      if (auto* text = std::get_if<mcp::TextContent>(&block.value)) std::cout << text->text;
      if (auto* image = std::get_if<mcp::ImageContent>(&block.value))
        std::cout << image->mimeType << ", " << mcp::base64_decode(image->data)->size() << " bytes";
      if (auto* link = std::get_if<mcp::ResourceLink>(&block.value)) std::cout << link->uri;
    }
    // end

    // snippet resources-client
    const auto resources = client.list_resources();
    for (const mcp::Resource& one : *resources) std::cout << one.uri << "\n";
    const auto templates = client.list_resource_templates();
    for (const mcp::ResourceTemplate& one : *templates) std::cout << one.uriTemplate << "\n";
    auto now = client.read_resource("weather://now");           // text
    auto radar = client.read_resource("weather://radar");       // binary: blob, as base64
    auto today = client.read_resource("weather://bern/today");  // made from a template
    // end
    CHECK(need(std::move(now)).at(0).text == "rain");
    CHECK(mcp::base64_decode(*need(std::move(radar)).at(0).blob) == "png");
    CHECK(need(std::move(today)).at(0).text == "sun");

    // snippet prompts-client
    const auto prompts = client.list_prompts();
    for (const mcp::Prompt& one : *prompts) std::cout << one.name << "\n";
    auto prompt = client.get_prompt("report", {{"city", "Bern"}});
    for (const mcp::PromptMessage& message : prompt->messages) std::cout << message.role << "\n";
    // end
    CHECK(text_of(prompt->messages.at(0).content) == "Bern");

    // snippet complete-client
    auto cities = client.complete({.prompt = "report", .argument = "city", .value = "b"});
    auto more = client.complete(
        {.uri_template = "weather://{city}/today", .argument = "city", .value = "b"});
    // end
    CHECK(cities->values.size() == 1);
    CHECK(more->values.size() == 2);

    Gate changed, updated;
    // snippet listen
    auto listening = client.listen(
        {.tools = true, .prompts = true, .resources = true, .uris = {"weather://now"}},
        [&](const mcp::ListenEvent& event) {  // on the reader's thread: be quick
          if (event.kind == mcp::ListenEvent::Kind::updated) updated.open();
          if (event.kind == mcp::ListenEvent::Kind::tools) changed.open();
        });
    // end
    REQUIRE(listening);
    station.server.notify_resource_updated("weather://now");
    station.server.notify_list_changed("tools");
    CHECK(updated.wait());
    CHECK(changed.wait());
    // snippet stop-listening
    client.stop_listening(listening->id);
    // end

    // snippet log-level
    client.set_log_level(mcp::LogLevel::info);  // nothing is logged before
    // end
    int steps = 0;
    // snippet progress-client
    auto scanned = client.call_tool("scan", Json::object(),
                                    {.timeout = 30s,  // of silence
                                     .on_progress =
                                         [&](const Json& p) {
                                           std::cerr << p["progress"] << "/" << p["total"] << "\n";
                                           ++steps;
                                         },
                                     .max_timeout = 10min});  // in all, however much progress comes
    // end
    CHECK(need(std::move(scanned)).structuredContent == R"({"result":true})");
    CHECK(steps == 3);
    CHECK(lines == 1);

    // snippet cancel-client
    std::stop_source stop;
    std::jthread user([&] { stop.request_stop(); });  // whoever has enough of it
    auto waited = client.call_tool("wait", Json::object(), {.stop_token = stop.get_token()});
    // end
    CHECK(waited.error().code == mcp::ErrorCode::cancelled);

    CHECK(call(client, "ask").find("Bern") != std::string::npos);  // the schema's default
    CHECK(call(client, "ask").find("hi") != std::string::npos);
    // snippet roots-changed
    client.roots_changed();  // up to 2025-11-25; later nobody keeps them
    // end
  }
}

TEST_CASE("pages") {
  mcp::Server server({.name = "docs", .page_size = 2});
  for (int i = 0; i < 5; ++i) server.expose("t" + std::to_string(i), "One.", [i] { return i; });
  Joined joined(server);
  mcp::Client& client = *joined;
  size_t tools = 0;
  // snippet pagination-client
  std::string cursor;  // list_tools() does this by itself
  do {
    auto page = client.request("tools/list", cursor.empty() ? "" : "\"cursor\":" + cursor);
    const Json json = Json::parse(*page);
    tools += json["tools"].size();
    cursor = json.contains("nextCursor") ? mcp::to_text(json["nextCursor"]) : "";
  } while (!cursor.empty());
  // end
  CHECK(tools == 5);
}

TEST_CASE("caches") {
  mcp::Server server({.name = "docs"});
  server.expose("one", "One.", [] { return 1; });
  auto [near_end, far_end] = mcp::make_memory_transports();
  auto served = std::async(std::launch::async, [&, far = std::move(far_end)]() mutable {
    server.serve(*far);
    far.reset();
  });
  auto transport = std::move(near_end);
  const std::string url = "http://127.0.0.1/mcp";
  {
    // snippet cache
    auto cache = std::make_shared<mcp::ClientCache>();  // for all clients of this program
    auto client = mcp::Client::connect(std::move(transport),
                                       {.cache = cache, .server = url, .principal = "ada"});
    (*client)->list_tools();                 // asks, and keeps it for as long as the server says
    (*client)->list_tools();                 // asks nobody
    (*client)->list_tools({.fresh = true});  // asks all the same
    // end
    CHECK(cache->bytes() > 0);
  }
  served.get();
}

TEST_CASE("tasks of a client") {
  Station station;
  Joined joined(station.server, {.handlers = handlers()});
  mcp::Client& client = *joined;
  // snippet task-follow
  auto result = client.call_tool(
      "forecast", Json::object(),
      {.on_task = [](const mcp::TaskInfo& t) { std::cerr << t.id << ": " << t.message << "\n"; }});
  // end
  CHECK(text_of(need(std::move(result)).content.at(0)).find("sunny in Ada") != std::string::npos);

  // snippet task-by-hand
  auto started = client.start_tool("forecast", Json::object());
  const std::string id = std::get<mcp::TaskInfo>(*started).id;  // keep it, come back tomorrow
  auto task = client.get_task(id);
  while (!task->ended() && task->input_requests.empty()) task = client.get_task(id);
  for (auto& [key, question] : task->input_requests.items())
    client.update_task(id, {{key, {{"action", "accept"}, {"content", {{"name", "Bern"}}}}}});
  auto outcome = client.follow_task(id);  // or cancel_task(id)
  // end
  CHECK(text_of(need(std::move(outcome)).content.at(0)).find("sunny in Bern") != std::string::npos);
}
