// gpumcp tools: what a server offers.
#include <fmt/format.h>

#include "cli/command.h"
#include "cli/target.h"

namespace gpumcp::cli {
namespace {

// "text: string, output: string = \"ref\""
std::string signature(const mcp::Tool& tool) {
  std::string out;
  const mcp::Json required = tool.inputSchema.value("required", mcp::Json::array());
  const mcp::Json properties = tool.inputSchema.value("properties", mcp::Json::object());
  for (auto& [name, schema] : properties.items()) {
    const bool optional = std::find(required.begin(), required.end(), name) == required.end();
    out += fmt::format("{}{}{}: {}", out.empty() ? "" : ", ", name,
                       optional && !schema.contains("default") ? "?" : "",
                       schema.contains("type") && schema["type"].is_string()
                           ? schema["type"].get<std::string>()
                           : "any");
    if (schema.contains("default")) out += " = " + mcp::to_text(schema["default"]);
  }
  return fmt::format("{}({})", tool.name, out);
}

}  // namespace

Command tools_command() {
  return {"tools", "list a server's tools",
          "  gpumcp tools                                  the built-in embeddings\n"
          "  gpumcp tools ./my_tools.so --json             with full schemas\n"
          "  gpumcp tools --url http://127.0.0.1:8080/mcp\n"
          "  gpumcp tools -- ./hello_tool",
          [](CLI::App& app, const std::vector<std::string>& behind) {
            struct Options {
              TargetOptions target;
              bool json = false;
            };
            auto options = std::make_shared<Options>();
            options->target.declare(app, true);
            options->target.command = behind;
            app.add_flag("--json", options->json, "print the tools as JSON");
            return [options]() -> int {
              const std::unique_ptr<Target> target = open_target(options->target);
              if (!target) return kUnreachable;
              auto tools = target->client().list_tools();
              if (!tools) {
                fmt::print(stderr, "gpumcp: {}\n", tools.error().message);
                return kUnreachable;
              }
              mcp::Json list = mcp::Json::array();
              for (auto& tool : *tools) {
                if (options->json)
                  list.push_back(mcp::to_json(tool));
                else
                  fmt::print("{}\n    {}\n", signature(tool), tool.description);
              }
              if (options->json) fmt::print("{}\n", list.dump(2));
              return kOk;
            };
          }};
}

}  // namespace gpumcp::cli
