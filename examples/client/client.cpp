// A client for any server, started here or reached by its URL, of any protocol version: it lists,
// calls, reads and gets prompts, and asks its user where a server wants to know something.
//   example_client list                           -- COMMAND… | URL
//   example_client call TOOL [NAME=VALUE…]        -- COMMAND… | URL
//   example_client read RESOURCE                  -- COMMAND… | URL
//   example_client prompt NAME [ARGUMENT=VALUE…]  -- COMMAND… | URL
// as in: build/release/bin/example_client list -- build/release/bin/hello_tool
#include <gpumcp/mcp.h>

#include <algorithm>
#include <iostream>
#include <stdexcept>

using namespace gpumcp;

namespace {

template <class T>
T need(mcp::Result<T> result) {
  if (!result) throw std::runtime_error(result.error().message);
  return std::move(*result);
}

// A line from the user; nothing at the end of the input.
std::optional<std::string> ask(const std::string& question) {
  std::cerr << question << ": " << std::flush;
  std::string line;
  return std::getline(std::cin, line) ? std::optional(line) : std::nullopt;
}

Json json_or_text(const std::string& text) {
  auto json = mcp::parse_json(text);
  return json ? *json : Json(text);
}

// What the server may ask for. Each handler that is set is a capability that is declared.
mcp::ClientHandlers handlers() {
  mcp::ClientHandlers out;
  out.elicit_form = [](const mcp::ElicitRequest& request, std::stop_token) -> mcp::ElicitResult {
    std::cerr << request.message << "\n";
    Json answer = Json::object();
    for (auto& [name, property] : request.requestedSchema["properties"].items()) {
      std::string question = property.value("title", name);
      if (property.contains("enum")) (question += ' ') += mcp::to_text(property["enum"]);
      if (property.contains("default"))
        ((question += " [") += mcp::to_text(property["default"])) += ']';
      const auto line = ask("  " + question);
      if (!line) return {mcp::ElicitResult::Action::cancel};
      if (line->empty()) continue;  // the default, or nothing
      answer[name] = property.value("type", "") == "string" ? Json(*line) : json_or_text(*line);
    }
    return {mcp::ElicitResult::Action::accept, answer};
  };
  out.elicit_url = [](const mcp::ElicitRequest& request, std::stop_token) -> mcp::ElicitResult {
    std::cerr << request.message << "\n  " << request.url << "\n";
    const auto line = ask("  open it? [y/n]");
    return {line == "y" ? mcp::ElicitResult::Action::accept : mcp::ElicitResult::Action::decline};
  };
  out.sample = [](const mcp::CreateMessageRequest& request, std::stop_token) {
    for (auto& message : request.messages)
      for (auto& block : message.content)
        if (auto* text = std::get_if<mcp::TextContent>(&block.value))
          std::cerr << message.role << ": " << text->text << "\n";
    return mcp::CreateMessageResult{.content = {{mcp::TextContent{ask("assistant").value_or("")}}},
                                    .model = "you"};
  };
  out.roots = [](std::stop_token) { return std::vector<mcp::Root>{{"file:///tmp", "tmp"}}; };
  return out;
}

std::unique_ptr<mcp::Client> connect(const std::vector<std::string>& server) {
  if (server.empty()) throw std::runtime_error("which server? -- COMMAND… or -- URL");
  const bool is_url = server.size() == 1 && server[0].find("://") != std::string::npos;
  auto transport =
      need(is_url ? mcp::make_http_transport(server[0]) : mcp::make_process_transport(server));
  return need(mcp::Client::connect(std::move(transport),
                                   {.info = {"example-client", "1.0"},
                                    .handlers = handlers(),
                                    .on_log = [](const mcp::LogMessage& line) {
                                      std::cerr << mcp::log_level_name(line.level) << ": "
                                                << mcp::to_text(line.data) << "\n";
                                    }}));
}

void print(const mcp::ContentBlock& block) {
  if (auto* text = std::get_if<mcp::TextContent>(&block.value))
    std::cout << text->text << "\n";
  else if (auto* link = std::get_if<mcp::ResourceLink>(&block.value))
    std::cout << link->uri << "\n";
  else
    std::cout << "(something to look at or to listen to)\n";
}

void list(mcp::Client& client) {
  std::cout << client.server_info().value("name", "?") << ", " << client.protocol_version() << "\n";
  const Json& offers = client.server_capabilities();
  if (offers.contains("tools"))
    for (auto& tool : need(client.list_tools()))
      std::cout << "tool      " << tool.name << "  " << tool.description << "\n";
  if (offers.contains("resources")) {
    for (auto& resource : need(client.list_resources()))
      std::cout << "resource  " << resource.uri << "  " << resource.name << "\n";
    if (auto templates = client.list_resource_templates())  // not every server knows the question
      for (auto& one : *templates)
        std::cout << "template  " << one.uriTemplate << "  " << one.name << "\n";
  }
  if (offers.contains("prompts"))
    for (auto& prompt : need(client.list_prompts()))
      std::cout << "prompt    " << prompt.name << "  " << prompt.description << "\n";
}

int call(mcp::Client& client, const std::string& tool, const Json& arguments) {
  auto result = need(client.call_tool(
      tool, arguments,
      {.on_progress =
           [](const Json& p) { std::cerr << "  " << p.value("message", mcp::to_text(p)) << "\n"; },
       .max_timeout = std::chrono::hours(1),
       .log_level = mcp::LogLevel::info,
       .on_task =
           [](const mcp::TaskInfo& task) {
             std::cerr << "  task " << task.id.substr(0, 8) << ": " << task.message << "\n";
           }}));
  for (auto& block : result.content) print(block);
  return result.isError ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) try {
  std::vector<std::string> words(argv + 1, argv + argc), server;
  if (auto dashes = std::find(words.begin(), words.end(), "--"); dashes != words.end()) {
    server.assign(dashes + 1, words.end());
    words.erase(dashes, words.end());
  }
  auto client = connect(server);
  const std::string what = words.empty() ? "list" : words[0];
  if (what == "list") {
    list(*client);
    return 0;
  }
  if (words.size() < 2) throw std::runtime_error(what + " what?");
  Json arguments = Json::object();
  std::map<std::string, std::string> texts;
  for (size_t i = 2; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (equals == std::string::npos) throw std::runtime_error(words[i] + ": expected NAME=VALUE");
    texts[words[i].substr(0, equals)] = words[i].substr(equals + 1);
    arguments[words[i].substr(0, equals)] = json_or_text(words[i].substr(equals + 1));
  }
  if (what == "call") return call(*client, words[1], arguments);
  if (what == "read") {
    for (auto& one : need(client->read_resource(words[1])))
      std::cout << (one.blob ? "(" + one.mimeType + ")" : one.text) << "\n";
  } else if (what == "prompt") {
    for (auto& message : need(client->get_prompt(words[1], texts)).messages) {
      std::cout << message.role << ": ";
      print(message.content);
    }
  } else {
    throw std::runtime_error("unknown: " + what);
  }
  return 0;
} catch (const std::exception& e) {
  std::cerr << "example_client: " << e.what() << "\n";
  return 1;
}
