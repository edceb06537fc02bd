// A tool that borrows the client's language model: the server needs no key of its own, and the user
// sees what is asked. (Sampling is deprecated since 2026-07-28, and stays until 2027-07-28 at
// least.)
//   build/release/bin/example_client call haiku about=rain -- build/release/bin/example_sampling
// shows the question and takes the model's answer from the terminal.
#include <gpumcp/mcp.h>

using namespace gpumcp;

int main() {
  mcp::Server server({.name = "poet", .version = "1.0"});
  server.expose(
      "haiku", "Write a haiku.",
      [](const std::string& about, Context& context) {
        // Says so to the client, in the way of its version, instead of asking in vain.
        if (!context.client_capabilities().sampling())
          throw mcp::MissingCapability(Json{{"sampling", Json::object()}});
        const auto answer = context.create_message(
            "poem", {.messages = {{"user", {{mcp::TextContent{"A haiku about " + about + "."}}}}},
                     .maxTokens = 60,
                     .systemPrompt = "You are a poet of few words.",
                     .temperature = 0.9});
        return answer.text();
      },
      arg("about", "What it is about."));
  return server.serve_stdio();
}
