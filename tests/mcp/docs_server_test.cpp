// The server's snippets of docs/mcp.md, run.
#include <csignal>
#include <cstdio>
#include <optional>

#include "tests/mcp/docs_support.h"

using namespace docs;

namespace {

// snippet tool-struct
struct Point {
  double x = 0, y = 0;
  std::optional<std::string> label;
};
GPUMCP_DESCRIBE_DOC(Point, (x, "To the right."), (y, "Upwards."), (label, "What is there."))

enum class Unit { metre, foot };
GPUMCP_DESCRIBE_ENUM(Unit, metre, foot)

Point middle(const std::vector<Point>& points, Unit unit) {
  Point sum;
  for (const Point& one : points) sum.x += one.x / points.size(), sum.y += one.y / points.size();
  if (unit == Unit::foot) sum.x /= 0.3048, sum.y /= 0.3048;
  return sum;
}
// end

const std::string png = "not really a picture", wav = "nor a sound";

}  // namespace

TEST_CASE("tools") {
  mcp::Server server({.name = "docs", .version = "1.0"});
  // snippet tool-typed
  server.expose(
      "add", "Add two numbers.", [](double a, double b) { return a + b; }, arg("a", "The first."),
      arg("b", "The second.", 1.0));
  // end
  // snippet tool-struct-expose
  server.expose({.name = "middle",
                 .title = "Middle of points",
                 .description = "The mean of some points.",
                 .annotations = {{.readOnlyHint = true, .openWorldHint = false}}},
                middle, arg("points").min_items(1), arg("unit", "Of the result.", Unit::metre));
  // end
  // snippet tool-text
  server.expose(
      "greet", "Greet somebody.", [](const std::string& name) { return "Hello, " + name + "!"; },
      arg("name").max_length(100));
  // end
  // snippet tool-image
  server.expose("plot", "Draw what was measured.", [] {
    return mcp::CallToolResult{
        .content = {{mcp::TextContent{"The last hour:"}},
                    {mcp::ImageContent{mcp::base64_encode(png), "image/png"}}}};
  });
  // end
  // snippet tool-audio
  server.expose("ring", "The sound of the bell.", [] {
    return mcp::CallToolResult{
        .content = {{mcp::AudioContent{mcp::base64_encode(wav), "audio/wav"}}}};
  });
  // end
  // snippet tool-embedded
  server.expose("report", "Today's report, and where last month's lies.", [] {
    mcp::ResourceContents today = {"report://today", "text/markdown", "# All is well"};
    return mcp::CallToolResult{
        .content = {{mcp::EmbeddedResource{today}},
                    {mcp::ResourceLink{.uri = "report://last-month", .name = "Last month"}}}};
  });
  // end
  // snippet tool-errors
  server.expose(
      "divide", "Divide.",
      [](double a, double b) {
        if (b == 0) throw mcp::ToolError("b is 0; give another number");
        if (a > 1e300)
          throw mcp::ProtocolError({mcp::ErrorCode::internal_error, "the divider is worn out"});
        return a / b;
      },
      arg("a"), arg("b"));
  // end
  Joined client(server);
  CHECK(call(*client, "add", {{"a", 1}}) == R"({"result":2})");
  const auto mean = need(client->call_tool(
      "middle", Json::parse(R"({"points":[{"x":0,"y":0},{"x":2,"y":4}],"unit":"metre"})")));
  CHECK(Json::parse(mean.structuredContent)["y"] == 2);
  CHECK(call(*client, "greet", {{"name", "Ada"}}) == R"({"result":"Hello, Ada!"})");
  CHECK(std::holds_alternative<mcp::ImageContent>(
      need(client->call_tool("plot", {})).content.at(1).value));
  CHECK(std::holds_alternative<mcp::AudioContent>(
      need(client->call_tool("ring", {})).content.at(0).value));
  CHECK(std::holds_alternative<mcp::EmbeddedResource>(
      need(client->call_tool("report", {})).content.at(0).value));
  CHECK(need(client->call_tool("divide", {{"a", 1}, {"b", 0}})).isError);
  CHECK(call(*client, "divide", {{"a", 1}, {"b", 0}}) == "b is 0; give another number");
  CHECK(client->call_tool("divide", {{"a", 1e301}, {"b", 1}}).error().message ==
        "the divider is worn out");
  CHECK(need(client->call_tool("divide", {{"a", "x"}, {"b", 1}})).isError);
}

TEST_CASE("JSON Schema 2020-12") {
  mcp::Server server({.name = "docs"});
  // snippet json-schema
  server.add_tool(
      {.name = "send_parcel", .description = "Send a parcel.", .inputSchema = Json::parse(R"({
         "type": "object",
         "properties": {
           "weight": {"type": "number", "exclusiveMinimum": 0, "maximum": 30},
           "to": {"$ref": "#/$defs/address"},
           "express": {"type": "boolean"}
         },
         "required": ["weight", "to"],
         "if": {"properties": {"express": {"const": true}}, "required": ["express"]},
         "then": {"properties": {"weight": {"maximum": 5}}},
         "unevaluatedProperties": false,
         "$defs": {"address": {"type": "object", "required": ["city"],
                               "properties": {"city": {"type": "string"}}}}
       })")},
      [](const Json& arguments, Context&) {
        return mcp::CallToolResult::text("on its way to " +
                                         arguments["to"]["city"].get<std::string>());
      });
  // end
  Joined client(server);
  CHECK(call(*client, "send_parcel", Json::parse(R"({"weight":2,"to":{"city":"Bern"}})")) ==
        "on its way to Bern");
  CHECK(need(client->call_tool("send_parcel",
                               Json::parse(R"({"weight":20,"to":{"city":"Bern"},"express":true})")))
            .isError);

  // snippet json-schema-check
  const auto schema = mcp::JsonSchema::compile(
      Json::parse(R"({"type": "array", "items": {"type": "string", "pattern": "^[a-z]+$"}})"));
  if (!schema) std::cerr << schema.error().message;  // where in the schema, and what to write
  for (const auto& issue : schema->issues(Json::parse(R"(["fine", 7])"), "words"))
    std::cout << issue.message << "\n";  // words[1]: expected a string, got the number 7
  // end
  CHECK(schema->issues(Json::parse(R"(["fine", 7])"), "words").at(0).path == "words[1]");
}

TEST_CASE("tools come and go") {
  mcp::Server server({.name = "docs"});
  server.expose("old", "Goes.", [] { return 1; });
  Joined client(server);
  Gate heard;
  need(client->listen({.tools = true}, [&](const mcp::ListenEvent&) { heard.open(); }));
  // snippet tools-changed
  server.expose("new", "Was not there before.", [] { return 42; });  // while clients are connected
  server.remove_tool("old");
  // end
  CHECK(heard.wait());
  CHECK(need(client->list_tools({.fresh = true})).at(0).name == "new");
}

TEST_CASE("resources") {
  std::atomic<int> level = 3;
  mcp::Server server({.name = "docs"});
  // snippet resource-text
  using Contents = std::optional<std::vector<mcp::ResourceContents>>;
  server.add_resource({.uri = "tank://level", .name = "Level", .mimeType = "text/plain"},
                      [&](const std::string& uri, Context&) -> Contents {
                        return {{{uri, "text/plain", std::to_string(level) + " m"}}};
                      });
  // end
  // snippet resource-binary
  server.add_resource(
      {.uri = "tank://photo", .name = "Photo", .mimeType = "image/png"},
      [&](const std::string& uri, Context&) -> Contents {
        return {{{.uri = uri, .mimeType = "image/png", .blob = mcp::base64_encode(png)}}};
      });
  // end
  // snippet resource-template
  server.add_resource_template(
      {.uriTemplate = "tank://{tank}/valves/{valve}", .name = "A valve", .mimeType = "text/plain"},
      [](const std::string& uri, Context&) -> Contents {
        const auto names = mcp::match_uri_template("tank://{tank}/valves/{valve}", uri);
        if (names->at("valve") != "1") return std::nullopt;  // there is no such resource
        return {{{uri, "text/plain", "open"}}};
      });
  // end
  Joined client(server);
  Gate updated, listed;
  need(client->listen({.resources = true, .uris = {"tank://level"}},
                      [&](const mcp::ListenEvent& event) {
                        if (event.uri == "tank://level") updated.open();
                        if (event.kind == mcp::ListenEvent::Kind::resources) listed.open();
                      }));
  // snippet resource-updated
  level = 4;
  server.notify_resource_updated("tank://level");  // to those who subscribed, and to nobody else
  // end
  CHECK(updated.wait());
  // snippet resources-changed
  server.add_resource(
      {.uri = "tank://alarm", .name = "Alarm"},
      [](const std::string& uri, Context&) -> Contents { return {{{uri, "text/plain", "none"}}}; });
  server.remove_resource("tank://photo");
  // end
  CHECK(listed.wait());
  CHECK(need(client->read_resource("tank://level")).at(0).text == "4 m");
  CHECK(need(client->read_resource("tank://a/valves/1")).at(0).text == "open");
  CHECK(client->read_resource("tank://a/valves/2").error().code == mcp::ErrorCode::invalid_params);
  CHECK(client->read_resource("tank://photo").error().code == mcp::ErrorCode::invalid_params);
}

TEST_CASE("prompts") {
  mcp::Server server({.name = "docs"});
  // snippet prompt-simple
  server.add_prompt({.name = "stand_up", .description = "What was done, what is next."},
                    [](const mcp::PromptArguments&, Context&) -> mcp::GetPromptResult {
                      return {.messages = {{"user", {mcp::TextContent{"Sum up yesterday."}}}}};
                    });
  // end
  // snippet prompt-arguments
  server.add_prompt(
      {.name = "translate",
       .description = "Translate a text.",
       .arguments = {{.name = "text", .description = "What.", .required = true},
                     {.name = "language", .description = "Into which."}}},
      [](const mcp::PromptArguments& given, Context&) -> mcp::GetPromptResult {
        const std::string into = given.contains("language") ? given.at("language") : "English";
        return {
            .messages = {{"user", {mcp::TextContent{"Into " + into + ": " + given.at("text")}}}}};
      });
  // end
  // snippet prompt-embedded
  server.add_prompt({.name = "explain", .description = "Explain the log."},
                    [](const mcp::PromptArguments&, Context&) -> mcp::GetPromptResult {
                      mcp::ResourceContents log = {"log://today", "text/plain", "08:00 started"};
                      return {.messages = {{"user", {mcp::EmbeddedResource{log}}},
                                           {"user", {mcp::TextContent{"What happened?"}}}}};
                    });
  // end
  // snippet prompt-image
  server.add_prompt(
      {.name = "describe", .description = "Describe the photo."},
      [](const mcp::PromptArguments&, Context&) -> mcp::GetPromptResult {
        return {.messages = {{"user", {mcp::ImageContent{mcp::base64_encode(png), "image/png"}}},
                             {"user", {mcp::TextContent{"What is to be seen?"}}}}};
      });
  // end
  // snippet completion-prompt
  server.add_completer("translate", "language",
                       [](const std::string& typed, const mcp::PromptArguments&) {
                         mcp::Completion out;
                         for (std::string one : {"Danish", "Dutch", "French"})
                           if (one.starts_with(typed)) out.values.push_back(one);
                         return out;
                       });
  // end
  using Contents = std::optional<std::vector<mcp::ResourceContents>>;
  server.add_resource_template(
      {.uriTemplate = "file://{name}", .name = "A file"},
      [](const std::string&, Context&) -> Contents { return std::nullopt; });
  // snippet completion-resource
  server.add_completer("file://{name}", "name",
                       [](const std::string& typed, const mcp::PromptArguments&) {
                         return mcp::Completion{.values = {typed + ".txt"}, .hasMore = false};
                       });
  // end
  Joined client(server);
  CHECK(need(client->list_prompts()).size() == 4);
  CHECK(text_of(need(client->get_prompt("stand_up")).messages.at(0).content) ==
        "Sum up yesterday.");
  CHECK(
      text_of(need(client->get_prompt("translate", {{"text", "salut"}})).messages.at(0).content) ==
      "Into English: salut");
  CHECK(need(client->get_prompt("explain")).messages.size() == 2);
  CHECK(std::holds_alternative<mcp::ImageContent>(
      need(client->get_prompt("describe")).messages.at(0).content.value));
  CHECK(need(client->complete({.prompt = "translate", .argument = "language", .value = "D"}))
            .values.size() == 2);
  CHECK(need(client->complete({.uri_template = "file://{name}", .argument = "name", .value = "a"}))
            .values.at(0) == "a.txt");
  Gate heard;
  need(client->listen({.prompts = true}, [&](const mcp::ListenEvent&) { heard.open(); }));
  // snippet prompts-changed
  server.remove_prompt("stand_up");
  // end
  CHECK(heard.wait());
}

TEST_CASE("asking the client, in both eras") {
  for (mcp::Era era : {mcp::Era::modern, mcp::Era::legacy}) {
    mcp::Server server({.name = "docs"});
    // snippet sampling
    server.expose(
        "summary", "Sum up a text by the client's own model.",
        [](const std::string& text, Context& context) {
          return context
              .create_message("summary", {.messages = {{"user", {{mcp::TextContent{text}}}}},
                                          .maxTokens = 200,
                                          .systemPrompt = "One sentence."})
              .text();
        },
        arg("text"));
    // end
    // snippet elicitation-form
    server.expose("register", "Register for the course.", [](Context& context) -> std::string {
      const auto answer = context.elicit("who", {"Who are you?", Json::parse(R"({
        "type": "object",
        "properties": {"name": {"type": "string", "title": "Name", "minLength": 1},
                       "email": {"type": "string", "format": "email"}},
        "required": ["name"]
      })")});
      if (!answer.accepted()) return "nobody was registered";  // declined, or closed
      return answer.content["name"].get<std::string>() + " is registered";
    });
    // end
    // snippet elicitation-defaults
    const Json form = Json::parse(R"({
      "type": "object",
      "properties": {
        "seats": {"type": "integer", "minimum": 1, "maximum": 8, "default": 2},
        "window": {"type": "boolean", "default": true}
      }
    })");
    server.expose("reserve", "Reserve seats.", [form](Context& context) {
      return context.elicit("seats", {"How many?", form}).content.value("seats", 0);
    });
    // end
    // snippet elicitation-enums
    const Json choices = Json::parse(R"({
      "type": "object",
      "properties": {
        "size": {"type": "string", "enum": ["small", "large"]},
        "colour": {"type": "string", "oneOf": [{"const": "r", "title": "Red"},
                                               {"const": "g", "title": "Green"}]},
        "extras": {"type": "array", "items": {"type": "string", "enum": ["gift", "card"]},
                   "minItems": 0, "maxItems": 2}
      },
      "required": ["size"]
    })");
    server.expose("order", "Order a shirt.", [choices](Context& context) {
      return context.elicit("which", {"Which one?", choices}).content.value("size", "none");
    });
    // end
    // snippet elicitation-url
    server.expose("connect_account", "Connect an account.", [](Context& context) -> std::string {
      const auto answer = context.elicit("account", {.message = "Sign in to connect your account.",
                                                     .url = "https://example.com/connect?n=17",
                                                     .elicitationId = "17"});
      return answer.accepted() ? "waiting for you to sign in" : "not connected";
    });
    // end
    // snippet roots
    server.expose("find_todos", "Look for TODOs in what is open.", [](Context& context) {
      std::vector<std::string> folders;
      for (const mcp::Root& root : context.list_roots()) folders.push_back(root.uri);
      return folders;
    });
    // end
    // snippet several-questions
    server.expose("plan", "Plan a trip.", [](Context& context) {
      auto answers =
          context.ask({{"budget", mcp::ElicitRequest{"How much?", Json::parse(R"({"type": "object",
                        "properties": {"euros": {"type": "integer"}}})")}},
                       {"folders", mcp::ListRootsRequest{}}});  // at once, not one after the other
      return std::get<mcp::ElicitResult>(answers.at("budget")).content.value("euros", 0);
    });
    // end
    // snippet capabilities-server
    server.expose("polite", "Asks only who can answer.", [](Context& context) -> std::string {
      const auto& can = context.client_capabilities();
      if (!can.sampling()) throw mcp::MissingCapability(Json{{"sampling", Json::object()}});
      return can.elicitation_form() ? "could ask" : "would not ask";
    });
    // end
    // snippet state
    server.expose("draw", "Draw a lot, then ask.", [](Context& context) {
      if (context.state().is_null()) context.state() = {{"lot", 4}};  // drawn once
      const auto sure = context.elicit("sure", {"Keep it?", Json::parse(R"({"type": "object",
                          "properties": {"keep": {"type": "boolean", "default": true}}})")});
      return sure.accepted() ? context.state()["lot"].get<int>() : 0;
    });
    // end
    mcp::ClientHandlers handlers;
    handlers.elicit_form = [](const mcp::ElicitRequest& request, std::stop_token) {
      Json content = Json::object();
      if (request.requestedSchema["properties"].contains("name")) content["name"] = "Ada";
      if (request.requestedSchema["properties"].contains("size")) content["size"] = "large";
      if (request.requestedSchema["properties"].contains("euros")) content["euros"] = 300;
      return mcp::ElicitResult{mcp::ElicitResult::Action::accept, content};
    };
    handlers.elicit_url = [](const mcp::ElicitRequest&, std::stop_token) {
      return mcp::ElicitResult{mcp::ElicitResult::Action::accept};
    };
    handlers.sample = [](const mcp::CreateMessageRequest&, std::stop_token) {
      return mcp::CreateMessageResult{.content = {{mcp::TextContent{"short"}}}, .model = "m"};
    };
    handlers.roots = [](std::stop_token) { return std::vector<mcp::Root>{{"file:///a"}}; };
    Gate completed;
    Joined client(server, {.era = era,
                           .on_notification =
                               [&](const std::string& method, std::string_view) {
                                 if (method == "notifications/elicitation/complete")
                                   completed.open();
                               },
                           .handlers = handlers});
    CHECK(call(*client, "summary", {{"text", "long"}}) == R"({"result":"short"})");
    CHECK(call(*client, "register") == R"({"result":"Ada is registered"})");
    CHECK(call(*client, "reserve") == R"({"result":2})");
    CHECK(call(*client, "order") == R"({"result":"large"})");
    CHECK(call(*client, "connect_account") == R"({"result":"waiting for you to sign in"})");
    CHECK(call(*client, "find_todos") == R"({"result":["file:///a"]})");
    CHECK(call(*client, "plan") == R"({"result":300})");
    CHECK(call(*client, "polite") == R"({"result":"could ask"})");
    CHECK(call(*client, "draw") == R"({"result":4})");
    if (era == mcp::Era::legacy) {
      // snippet elicitation-complete
      server.notify_elicitation_complete("17");
      // end
      CHECK(completed.wait());
    }
  }
}

TEST_CASE("running calls") {
  mcp::Server server({.name = "docs"});
  // snippet progress
  server.expose("scan", "Scan the shelves.", [](Context& context) {
    for (int shelf = 1; shelf <= 3; ++shelf) context.progress(shelf, 3, "a shelf");
    return "scanned";
  });
  // end
  Gate began;
  // snippet cancellation
  server.expose("wait", "Wait for something that never comes.", [&](Context& context) -> int {
    std::mutex mutex;
    std::condition_variable_any arrived;
    std::unique_lock lock(mutex);
    began.open();
    arrived.wait(lock, context.stop_token(), [] { return false; });
    throw mcp::ToolError("cancelled");  // nobody reads this any more
  });
  // end
  // snippet logging
  server.expose("check", "Check the tank.", [](Context& context) {
    context.log(mcp::LogLevel::warning, Json{{"level_m", 0.2}}, "tank");
    return "low";
  });
  // end
  // snippet version-server
  server.expose("who", "Who asks, and how.", [](Context& context) {
    const mcp::CallInfo& call = context.call();
    return call.client.name + " by " + call.protocol_version;  // for logs, never for trust
  });
  // end
  // snippet task-server
  server.expose("train", "Train for an hour.", [](Context& context) -> std::string {
    context.start_task({.ttl = 24h, .poll_interval = 20ms, .message = "loading"});
    for (int epoch = 1; epoch <= 3; ++epoch) {
      if (context.cancelled()) throw mcp::ToolError("stopped");
      context.progress(epoch, 3, "epoch " + std::to_string(epoch));  // shows in the task
    }
    return "trained";
  });
  // end
  std::vector<std::string> lines;
  Joined client(server, {.info = {"docs", "1"}, .on_log = [&](const mcp::LogMessage& line) {
                           lines.push_back(line.logger);
                         }});
  int steps = 0;
  CHECK(call(*client, "scan", {}, {.on_progress = [&](const Json&) { ++steps; }}) ==
        R"({"result":"scanned"})");
  CHECK(steps == 3);
  std::stop_source stop;
  auto waiting = std::async(std::launch::async, [&] {
    return client->call_tool("wait", {}, {.stop_token = stop.get_token()});
  });
  CHECK(began.wait());
  stop.request_stop();
  CHECK(waiting.get().error().code == mcp::ErrorCode::cancelled);
  CHECK(call(*client, "check", {}, {.log_level = mcp::LogLevel::info}) == R"({"result":"low"})");
  CHECK(lines == std::vector<std::string>{"tank"});
  CHECK(call(*client, "who") == R"({"result":"docs by 2026-07-28"})");
  CHECK(call(*client, "train") == R"({"result":"trained"})");
}

TEST_CASE("pagination") {
  // snippet pagination-server
  mcp::Server server({.name = "docs", .page_size = 50});  // of tools, resources, prompts
  // end
  for (int i = 0; i < 120; ++i)
    server.expose("t" + std::to_string(i), "One of many.", [i] { return i; });
  Joined client(server);
  CHECK(need(client->list_tools()).size() == 120);
}

TEST_CASE("transports of a server") {
  mcp::Server server({.name = "docs"});
  server.expose("one", "One.", [] { return 1; });
  const std::string secret(32, 's');
  {
    // snippet http-server
    auto http = mcp::HttpServer::listen(server, {.host = "127.0.0.1", .port = 0, .token = secret});
    if (!http) throw std::runtime_error(http.error().message);  // the port is taken, say
    std::cerr << "listening on " << (*http)->url() << "\n";
    std::thread serving([&] { (*http)->serve(); });  // until stop(), or server.stop()
    // end
    for (const char* path : {"/mcp", "/sse"}) {
      const std::string url = "http://127.0.0.1:" + std::to_string((*http)->port()) + path;
      auto client =
          need(mcp::Client::connect(need(mcp::make_http_transport(url, {.token = secret}))));
      CHECK(call(*client, "one") == R"({"result":1})");
      CHECK(client->modern() == (std::string(path) == "/mcp"));
    }
    (*http)->stop();
    serving.join();
  }
  {
    // snippet sse-server
    auto http = mcp::HttpServer::listen(server, {.sse_path = "/sse", .messages_path = "/messages"});
    // end
    REQUIRE(http);
  }
  {
    const std::string path = "/tmp/gpumcp-docs-" + std::to_string(getpid());
    // snippet unix-server
    auto socket = mcp::listen_unix(path);  // mode 0600
    if (!socket) throw std::runtime_error(socket.error().message);
    std::thread serving([&] { server.serve_listener(*socket); });  // until server.stop()
    // end
    auto client = need(mcp::Client::connect([&] {
      const int fd = need(mcp::connect_unix(path));
      return mcp::make_line_transport(fd, fd);
    }()));
    CHECK(call(*client, "one") == R"({"result":1})");
    client.reset();
    server.stop();
    serving.join();
    std::remove(path.c_str());
  }
}

TEST_CASE("limits and leaving") {
  // snippet limits
  mcp::Server server({.name = "shared",
                      .max_running_calls = 64,     // of all clients; as many again wait, or are
                      .max_queued_calls = 64,      // told "busy" at once
                      .max_calls_per_session = 8,  // of one client: nobody holds all threads
                      .max_peers = 100,            // at one time, in serve_listener()
                      .drain = 10s});              // what runs when the server leaves may finish
  // end
  server.expose("one", "One.", [] { return 1; });
  const std::string path = "/tmp/gpumcp-docs-leaving-" + std::to_string(getpid());
  const int socket = need(mcp::listen_unix(path));
  std::jthread user([&] {
    const int fd = need(mcp::connect_unix(path));
    auto client = need(mcp::Client::connect(mcp::make_line_transport(fd, fd)));
    CHECK(call(*client, "one") == R"({"result":1})");
    kill(getpid(), SIGTERM);
  });
  // snippet leaving
  mcp::ExitWatch watch([&] { server.shut_down(); },  // on SIGTERM, SIGINT, SIGHUP
                       {.grace = server.options().drain + 1s});
  server.serve_listener(socket);  // returns when what ran has been answered
  // end
  CHECK(server.stopped());
  user.join();
  std::remove(path.c_str());
}
