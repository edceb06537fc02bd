// The client that the official conformance suite tests (@modelcontextprotocol/conformance), with
// the public API alone. The suite gives the server's URL as the last argument, and says by
// environment variables which scenario it plays, in which protocol version, and with what calls.
//   conformance_client URL
#include <gpumcp/mcp.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <stdexcept>

using namespace gpumcp::mcp;

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// Answers all that a server may ask, so that every capability is declared.
ClientHandlers handlers() {
  ClientHandlers out;
  out.elicit_form = [](const ElicitRequest& request, std::stop_token) {
    ElicitResult answer{.action = ElicitResult::Action::accept, .content = Json::object()};
    // What has a default is left to it.
    const Json& properties = request.requestedSchema.contains("properties")
                                 ? request.requestedSchema["properties"]
                                 : Json::object();
    for (const auto& [name, property] : properties.items())
      if (!property.contains("default") && property.value("type", "") == "boolean")
        answer.content[name] = true;
    return answer;
  };
  out.sample = [](const CreateMessageRequest&, std::stop_token) {
    return CreateMessageResult{.content = {{TextContent{"Paris"}}}, .model = "none"};
  };
  out.roots = [](std::stop_token) { return std::vector<Root>{{"file:///tmp", "tmp"}}; };
  return out;
}

template <class T>
T need(Result<T> result, const char* what) {
  if (!result) throw std::runtime_error(std::string(what) + ": " + result.error().message);
  return std::move(*result);
}

void call(Client& client, const std::string& tool, const Json& arguments = Json::object()) {
  need(client.call_tool(tool, arguments), tool.c_str());
}

void call_all(Client& client) {
  for (const Tool& tool : need(client.list_tools(), "tools/list")) call(client, tool.name);
}

using Scenario = std::function<void(Client&)>;

void standard_headers(Client& client) {
  call_all(client);
  for (const Resource& resource : need(client.list_resources(), "resources/list"))
    need(client.read_resource(resource.uri), "resources/read");
  for (const Prompt& prompt : need(client.list_prompts(), "prompts/list"))
    need(client.get_prompt(prompt.name), "prompts/get");
}

void custom_headers(Client& client) {
  need(client.list_tools(), "tools/list");
  const Json context = Json::parse(variable("MCP_CONFORMANCE_CONTEXT"));
  for (const Json& one : context.at("toolCalls"))
    call(client, one.at("name").get<std::string>(), one.at("arguments"));
}

void request_state(Client& client) {
  need(client.list_tools(), "tools/list");
  for (const char* tool : {"test_mrtr_echo_state", "test_mrtr_unrelated", "test_mrtr_no_state",
                           "test_mrtr_no_result_type"})
    call(client, tool);
}

// Sends a tool's schema back as it was received.
void echo_schema(Client& client) {
  for (const Tool& tool : need(client.list_tools(), "tools/list"))
    if (tool.name != "json_schema_echo")
      call(client, "json_schema_echo", {{"schema", tool.inputSchema}});
}

const std::map<std::string, Scenario> kScenarios = {
    {"initialize", [](Client& client) { need(client.list_tools(), "tools/list"); }},
    {"request-metadata", [](Client& client) { need(client.list_tools(), "tools/list"); }},
    {"json-schema-ref-no-deref", [](Client& client) { need(client.list_tools(), "tools/list"); }},
    {"tools_call",
     [](Client& client) {
       need(client.list_tools(), "tools/list");
       call(client, "add_numbers", {{"a", 5}, {"b", 3}});
     }},
    {"elicitation-sep1034-client-defaults",
     [](Client& client) { call(client, "test_client_elicitation_defaults"); }},
    {"sse-retry", call_all},
    {"http-standard-headers", standard_headers},
    {"http-custom-headers", custom_headers},
    {"http-invalid-tool-headers",
     [](Client& client) {
       for (const Tool& tool : need(client.list_tools(), "tools/list"))
         call(client, tool.name, {{"region", "us-west1"}});
     }},
    {"sep-2322-client-request-state", request_state},
    {"json-schema-2020-12-preservation", echo_schema},
};

}  // namespace

int main(int argc, char** argv) try {
  if (argc < 2) throw std::runtime_error("usage: conformance_client URL");
  const std::string name = variable("MCP_CONFORMANCE_SCENARIO");
  const auto scenario = kScenarios.find(name);
  if (scenario == kScenarios.end()) throw std::runtime_error("no scenario \"" + name + "\"");
  const bool modern = is_modern_version(variable("MCP_CONFORMANCE_PROTOCOL_VERSION"));
  auto transport = need(make_http_transport(argv[argc - 1]), "URL");
  auto client =
      need(Client::connect(std::move(transport), {.info = {"gpumcp-conformance", "1"},
                                                  .era = modern ? Era::modern : Era::legacy,
                                                  .handlers = handlers()}),
           "connect");
  scenario->second(*client);
  return 0;
} catch (const std::exception& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
