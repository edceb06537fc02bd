// The server that the official conformance suite tests (@modelcontextprotocol/conformance): its
// fixtures, written with the public API alone, so that they show what the API is like.
//   conformance_server [--http HOST:PORT]     Streamable HTTP at /mcp; port 0 (the default) picks
//   one; prints the URL conformance_server --stdio
#include <gpumcp/mcp.h>

#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <thread>

using namespace gpumcp::mcp;
using namespace std::chrono_literals;

namespace {

// A red pixel, and eight samples of silence.
constexpr const char* kPng =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg"
    "==";
constexpr const char* kWav = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAAAAA==";

Json parse(const char* text) { return Json::parse(text); }

Json form(const char* properties, const char* required = "[]") {
  return {{"type", "object"}, {"properties", parse(properties)}, {"required", parse(required)}};
}

ContentBlock text(std::string s) { return {TextContent{std::move(s)}}; }
ContentBlock embedded(std::string uri, std::string mime, std::string s) {
  return {EmbeddedResource{{std::move(uri), std::move(mime), std::move(s)}}};
}

CreateMessageRequest sample(std::string prompt) {
  return {.messages = {{"user", {text(std::move(prompt))}}}, .maxTokens = 100};
}

std::string said(const ElicitResult& answer) {
  constexpr const char* kActions[] = {"accept", "decline", "cancel"};
  std::string out = kActions[static_cast<int>(answer.action)];
  return answer.accepted() ? out + " " + to_text(answer.content) : out;
}

// A tool without arguments.
template <class F>
void simple(Server& server, const char* name, const char* description, F handler) {
  server.add_tool({.name = name,
                   .description = description,
                   .inputSchema = {{"type", "object"}, {"properties", Json::object()}}},
                  [handler](const Json&, Context& context) -> CallToolResult {
                    if constexpr (std::is_invocable_v<F, Context&>)
                      return handler(context);
                    else
                      return handler();
                  });
}

void add_content_tools(Server& server) {
  simple(server, "test_simple_text", "Answers with a text.",
         [] { return CallToolResult::text("This is a simple text response for testing."); });
  simple(server, "test_image_content", "Answers with an image.",
         [] { return CallToolResult{.content = {{ImageContent{kPng, "image/png"}}}}; });
  simple(server, "test_audio_content", "Answers with a sound.",
         [] { return CallToolResult{.content = {{AudioContent{kWav, "audio/wav"}}}}; });
  simple(server, "test_embedded_resource", "Answers with a resource.", [] {
    return CallToolResult{.content = {embedded("test://embedded-resource", "text/plain",
                                               "This is an embedded resource content.")}};
  });
  simple(server, "test_multiple_content_types", "Answers with three kinds of content.", [] {
    return CallToolResult{.content = {text("Multiple content types test:"),
                                      {ImageContent{kPng, "image/png"}},
                                      embedded("test://mixed-content-resource", "application/json",
                                               R"({"test":"data","value":123})")}};
  });
  simple(server, "test_error_handling", "Always fails.", []() -> CallToolResult {
    throw ToolError("This tool intentionally returns an error for testing");
  });
  server.add_tool({.name = "json_schema_2020_12_tool",
                   .description = "Has a schema with the keywords of JSON Schema 2020-12.",
                   .inputSchema = parse(R"({
    "$schema":"https://json-schema.org/draft/2020-12/schema","type":"object",
    "$defs":{"address":{"$anchor":"addressDef","type":"object",
      "properties":{"street":{"type":"string"},"city":{"type":"string"}}}},
    "properties":{"name":{"type":"string"},"address":{"$ref":"#/$defs/address"},
      "contactMethod":{"type":"string","enum":["phone","email"]},
      "phone":{"type":"string"},"email":{"type":"string"}},
    "allOf":[{"anyOf":[{"required":["phone"]},{"required":["email"]}]}],
    "if":{"properties":{"contactMethod":{"const":"phone"}},"required":["contactMethod"]},
    "then":{"required":["phone"]},"else":{"required":["email"]},
    "additionalProperties":false})")},
                  [](const Json& arguments, Context&) {
                    return CallToolResult::text("received " + to_text(arguments));
                  });
  server.add_tool({.name = "test_custom_header",
                   .description = "Wants its argument in a header too.",
                   .inputSchema = form(R"({"value":{"type":"string","x-mcp-header":"Value"}})")},
                  [](const Json& arguments, Context&) {
                    return CallToolResult::text("value " + arguments.value("value", "none"));
                  });
}

void add_running_tools(Server& server) {
  simple(server, "test_tool_with_progress", "Reports progress.", [](Context& context) {
    for (double done : {0., 50., 100.}) {
      context.progress(done, 100);
      std::this_thread::sleep_for(50ms);
    }
    return CallToolResult::text("done");
  });
  simple(server, "test_tool_with_logging", "Logs.", [](Context& context) {
    for (const char* line :
         {"Tool execution started", "Tool processing data", "Tool execution completed"}) {
      context.log(LogLevel::info, line);
      std::this_thread::sleep_for(50ms);
    }
    return CallToolResult::text("done");
  });
  simple(server, "test_logging_tool", "Logs a line, if asked to.", [](Context& context) {
    context.log(LogLevel::info, "a line", "conformance");
    return CallToolResult::text("done");
  });
  simple(server, "test_reconnection", "Lets its stream go and answers later.",
         [](Context& context) {
           context.release_stream(500ms);
           std::this_thread::sleep_for(100ms);
           return CallToolResult::text("Reconnection test completed successfully.");
         });
  simple(server, "test_missing_capability", "Cannot do without sampling.", [](Context& context) {
    if (!context.client_capabilities().sampling())
      throw MissingCapability(parse(R"({"sampling":{}})"));
    return CallToolResult::text("sampling is there");
  });
  simple(server, "test_streaming_elicitation", "Asks nothing.",
         [] { return CallToolResult::text("no question was asked"); });
  simple(server, "test_trigger_tool_change", "Says that the tools changed.", [&server] {
    server.notify_list_changed("tools");
    return CallToolResult::text("told");
  });
  simple(server, "test_trigger_prompt_change", "Says that the prompts changed.", [&server] {
    server.notify_list_changed("prompts");
    return CallToolResult::text("told");
  });
}

void add_asking_tools(Server& server) {
  server.expose(
      "test_sampling", "Asks the client's model.",
      [](std::string prompt, Context& context) {
        return CallToolResult::text("LLM response: " +
                                    context.create_message("answer", sample(prompt)).text());
      },
      arg("prompt"));
  server.expose(
      "test_elicitation", "Asks the user.",
      [](std::string message, Context& context) {
        return CallToolResult::text(
            "User response: " +
            said(context.elicit("user", {message, form(R"({"username":{"type":"string"},
                                                     "email":{"type":"string"}})",
                                                       R"(["username","email"])")})));
      },
      arg("message"));
  simple(server, "test_elicitation_sep1034_defaults", "Asks with defaults.", [](Context& context) {
    return CallToolResult::text("Elicitation completed: " +
                                said(context.elicit("form", {"Please confirm", form(R"({
      "name":{"type":"string","default":"John Doe"},"age":{"type":"integer","default":30},
      "score":{"type":"number","default":95.5},
      "status":{"type":"string","enum":["active","inactive","pending"],"default":"active"},
      "verified":{"type":"boolean","default":true}})")})));
  });
  simple(server, "test_elicitation_sep1330_enums", "Asks with choices.", [](Context& context) {
    return CallToolResult::text("Elicitation completed: " +
                                said(context.elicit("form", {"Please choose", form(R"({
      "untitledSingle":{"type":"string","enum":["option1","option2","option3"]},
      "titledSingle":{"type":"string","oneOf":[{"const":"value1","title":"First Option"},
        {"const":"value2","title":"Second Option"},{"const":"value3","title":"Third Option"}]},
      "legacyEnum":{"type":"string","enum":["opt1","opt2","opt3"],
        "enumNames":["Option One","Option Two","Option Three"]},
      "untitledMulti":{"type":"array","items":{"type":"string","enum":["option1","option2","option3"]}},
      "titledMulti":{"type":"array","items":{"anyOf":[{"const":"value1","title":"First Choice"},
        {"const":"value2","title":"Second Choice"},{"const":"value3","title":"Third Choice"}]}}})")})));
  });
}

ElicitRequest ask_name() {
  return {"What is your name?", form(R"({"name":{"type":"string"}})", R"(["name"])")};
}

void add_round_tools(Server& server) {
  const std::string prefix = "test_input_required_result_";
  auto add = [&](const char* name, const char* description, auto handler) {
    simple(server, (prefix + name).c_str(), description, handler);
  };
  add("elicitation", "Asks for a name.", [](Context& context) {
    const auto answer = context.elicit("user_name", ask_name());
    return CallToolResult::text("Hello, " + answer.content.value("name", "stranger") + "!");
  });
  add("sampling", "Asks the client's model.", [](Context& context) {
    return CallToolResult::text(
        context.create_message("capital", sample("What is the capital of France?")).text());
  });
  add("list_roots", "Asks for the roots.", [](Context& context) {
    return CallToolResult::text(std::to_string(context.list_roots("client_roots").size()) +
                                " roots");
  });
  add("request_state", "Keeps a state between two rounds.", [](Context& context) {
    context.state() = "kept";
    const auto answer =
        context.elicit("confirm", {"Go on?", form(R"({"ok":{"type":"boolean"}})", R"(["ok"])")});
    return CallToolResult::text("state-ok " + said(answer));
  });
  add("tampered_state", "Keeps a state that must not be changed.", [](Context& context) {
    context.state() = "sealed";
    const auto answer =
        context.elicit("confirm", {"Go on?", form(R"({"ok":{"type":"boolean"}})", R"(["ok"])")});
    return CallToolResult::text("state-ok " + said(answer));
  });
  add("multiple_inputs", "Asks three things at once.", [](Context& context) {
    auto answers = context.ask({{"user_name", ask_name()},
                                {"greeting", sample("Write a greeting.")},
                                {"client_roots", ListRootsRequest{}}});
    return CallToolResult::text(std::get<CreateMessageResult>(answers.at("greeting")).text() + " " +
                                said(std::get<ElicitResult>(answers.at("user_name"))));
  });
  add("multi_round", "Asks two things, one after the other.", [](Context& context) {
    const auto name = context.elicit("step1", ask_name());
    const auto color = context.elicit(
        "step2",
        {"Your favourite colour?", form(R"({"color":{"type":"string"}})", R"(["color"])")});
    return CallToolResult::text(said(name) + " " + said(color));
  });
  add("capabilities", "Asks what the client can answer.", [](Context& context) {
    std::map<std::string, InputRequest> questions;
    if (context.client_capabilities().elicitation_form()) questions["user_name"] = ask_name();
    if (context.client_capabilities().sampling()) questions["greeting"] = sample("Say hello.");
    if (questions.empty()) return CallToolResult::text("nobody to ask");
    context.ask(std::move(questions));
    return CallToolResult::text("answered");
  });
}

// Waits, and hears of a cancellation. False: it came.
bool wait(Context& context, double seconds) {
  std::mutex mutex;
  std::unique_lock lock(mutex);
  std::condition_variable_any never;
  never.wait_for(lock, context.stop_token(), std::chrono::duration<double>(seconds),
                 [] { return false; });
  return !context.cancelled();
}

ElicitRequest ask_to_confirm(std::string what) {
  return {std::move(what), form(R"({"confirm":{"type":"boolean"}})", R"(["confirm"])")};
}

void add_task_tools(Server& server) {
  server.expose(
      "greet", "Greets.",
      [](std::string name) { return CallToolResult::text("Hello, " + name + "!"); }, arg("name"));
  server.expose(
      "slow_compute", "Takes its time.",
      [](double seconds, std::string label, Context& context) {
        if (seconds > 0) context.start_task({.poll_interval = 200ms, .message = "computing"});
        if (!wait(context, seconds)) throw ToolError("cancelled");
        return CallToolResult::text("computed " + label);
      },
      arg("seconds"), arg("label"));
  simple(server, "failing_job", "A task that fails as a tool.", [](Context& context) {
    context.start_task({.required = true});
    wait(context, 1);
    return CallToolResult::error("the job failed");
  });
  simple(server, "protocol_error_job", "A task that fails as a request.",
         [](Context& context) -> CallToolResult {
           context.start_task({.required = true});
           throw ProtocolError({ErrorCode::internal_error, "the job broke"});
         });
  server.expose(
      "confirm_delete", "Asks while it is a task.",
      [](std::string filename, Context& context) {
        context.start_task({});
        return CallToolResult::text(
            said(context.elicit("confirm", ask_to_confirm("Delete " + filename + "?"))));
      },
      arg("filename"));
  simple(server, "multi_input", "Asks two things at once.", [](Context& context) {
    context.start_task({});
    context.ask({{"name", ask_name()}, {"confirm", ask_to_confirm("Go on?")}});
    return CallToolResult::text("answered");
  });
  simple(server, "test_tool_with_task", "Asks, then becomes a task.", [](Context& context) {
    const auto answer = context.elicit("user_name", ask_name());
    context.start_task({.required = true});
    return CallToolResult::text("Hello, " + answer.content.value("name", "stranger") + "!");
  });
}

void add_resources(Server& server) {
  using Contents = std::optional<std::vector<ResourceContents>>;
  server.add_resource(
      {.uri = "test://static-text",
       .name = "Static text",
       .description = "A text.",
       .mimeType = "text/plain"},
      [](const std::string& uri, Context&) -> Contents {
        return {{{uri, "text/plain", "This is the content of the static text resource."}}};
      });
  server.add_resource({.uri = "test://static-binary",
                       .name = "Static binary",
                       .description = "An image.",
                       .mimeType = "image/png"},
                      [](const std::string& uri, Context&) -> Contents {
                        return {{{uri, "image/png", "", kPng}}};
                      });
  server.add_resource({.uri = "test://watched-resource",
                       .name = "Watched resource",
                       .description = "Can be subscribed to.",
                       .mimeType = "text/plain"},
                      [](const std::string& uri, Context&) -> Contents {
                        return {{{uri, "text/plain", "watched"}}};
                      });
  server.add_resource_template(
      {.uriTemplate = "test://template/{id}/data",
       .name = "Template",
       .description = "Data by id.",
       .mimeType = "application/json"},
      [](const std::string& uri, Context&) -> Contents {
        const std::string id = match_uri_template("test://template/{id}/data", uri)->at("id");
        return {
            {{uri, "application/json",
              to_text(Json{{"id", id}, {"templateTest", true}, {"data", "Data for ID: " + id}})}}};
      });
}

void add_prompts(Server& server) {
  auto user = [](ContentBlock block) { return PromptMessage{"user", std::move(block)}; };
  server.add_prompt({.name = "test_simple_prompt", .description = "A prompt."},
                    [user](const PromptArguments&, Context&) -> GetPromptResult {
                      return {.messages = {user(text("This is a simple prompt for testing."))}};
                    });
  server.add_prompt(
      {.name = "test_prompt_with_arguments",
       .description = "A prompt with two arguments.",
       .arguments = {{"arg1", "The first.", true}, {"arg2", "The second.", true}}},
      [user](const PromptArguments& a, Context&) -> GetPromptResult {
        return {.messages = {user(text("Prompt with arguments: arg1='" + a.at("arg1") +
                                       "', arg2='" + a.at("arg2") + "'"))}};
      });
  server.add_completer("test_prompt_with_arguments", "arg1",
                       [](const std::string& value, const PromptArguments&) -> Completion {
                         Completion out;
                         for (const char* word : {"paris", "park", "party"})
                           if (std::string(word).starts_with(value)) out.values.push_back(word);
                         return out;
                       });
  server.add_prompt(
      {.name = "test_prompt_with_embedded_resource",
       .description = "A prompt that holds a resource.",
       .arguments = {{"resourceUri", "Which.", true}}},
      [user](const PromptArguments& a, Context&) -> GetPromptResult {
        return {.messages = {user(embedded(a.at("resourceUri"), "text/plain",
                                           "Embedded resource content for testing.")),
                             user(text("Please process the embedded resource above."))}};
      });
  server.add_prompt({.name = "test_prompt_with_image", .description = "A prompt with an image."},
                    [user](const PromptArguments&, Context&) -> GetPromptResult {
                      return {.messages = {user({ImageContent{kPng, "image/png"}}),
                                           user(text("Please analyze the image above."))}};
                    });
  server.add_prompt(
      {.name = "test_input_required_result_prompt", .description = "A prompt that asks first."},
      [user](const PromptArguments&, Context& context) -> GetPromptResult {
        const auto answer = context.elicit(
            "user_context",
            {"What is it about?", form(R"({"context":{"type":"string"}})", R"(["context"])")});
        return {.messages = {user(text("Context: " + said(answer)))}};
      });
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> args(argv + 1, argv + argc);
  const bool stdio = args == std::vector<std::string>{"--stdio"};
  const size_t colon = args.size() == 2 && args[0] == "--http" ? args[1].rfind(':') : 0;
  if (!stdio && !args.empty() && (colon == 0 || colon == std::string::npos)) {
    std::fprintf(stderr, "usage: conformance_server [--http HOST:PORT | --stdio]\n");
    return 1;
  }
  Server server({.name = "gpumcp-conformance",
                 .version = "1",
                 .instructions = "Fixtures of the MCP conformance suite.",
                 .for_hosts = false});
  add_content_tools(server);
  add_running_tools(server);
  add_asking_tools(server);
  add_round_tools(server);
  add_task_tools(server);
  add_resources(server);
  add_prompts(server);
  if (stdio) return server.serve_stdio();
  HttpOptions options;
  if (colon != 0) {
    options.host = args[1].substr(0, colon);
    options.port = std::atoi(args[1].c_str() + colon + 1);
  }
  auto http = HttpServer::listen(server, options);
  if (!http) {
    std::fprintf(stderr, "%s\n", http.error().message.c_str());
    return 1;
  }
  std::printf("%s\n", (*http)->url().c_str());
  std::fflush(stdout);
  (*http)->serve();
  return 0;
}
