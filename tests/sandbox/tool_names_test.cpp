#include "sandbox/tool_names.h"

#include "mcp/server.h"
#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

Manifest manifest_of(const std::string& name, const std::vector<std::string>& tools) {
  Manifest out{.name = name, .library = "/x/" + name + ".so"};
  for (const std::string& tool : tools)
    out.tools.push_back(
        {.name = tool, .description = "Does it.", .inputSchema = {{"type", "object"}}});
  return out;
}

std::vector<std::string> names_of(const Manifest& manifest) {
  std::vector<std::string> out;
  for (auto& tool : manifest.tools) out.push_back(tool.name);
  return out;
}

TEST_CASE("only tools whose names two interfaces share get their interface's name") {
  std::vector<Manifest> all{manifest_of("one", {"info", "add"}),
                            manifest_of("two", {"info", "sub"}), manifest_of("my.three", {"info"})};
  const auto renamed = settle_tool_names(all);
  CHECK(names_of(all[0]) == std::vector<std::string>{"one_info", "add"});
  CHECK(names_of(all[1]) == std::vector<std::string>{"two_info", "sub"});
  CHECK(names_of(all[2]) == std::vector<std::string>{"my_three_info"});
  CHECK(renamed == std::vector<ToolNames>{{{"info", "one_info"}},
                                          {{"info", "two_info"}},
                                          {{"info", "my_three_info"}}});
}

TEST_CASE("an interface alone keeps its tools' names") {
  std::vector<Manifest> all{manifest_of("one", {"info", "add"})};
  CHECK(settle_tool_names(all) == std::vector<ToolNames>{{}});
  CHECK(names_of(all[0]) == std::vector<std::string>{"info", "add"});
}

TEST_CASE("names that stay alike are refused with both files and what to do") {
  std::vector<Manifest> same{manifest_of("one", {"info"}), manifest_of("one", {"info"})};
  same[1].library = "/y/one.so";
  std::string said;
  try {
    settle_tool_names(same);
  } catch (const std::invalid_argument& e) {
    said = e.what();
  }
  CHECK(said.find("/x/one.so and /y/one.so would both have a tool one_info") != std::string::npos);
  CHECK(said.find("gpumcp.toml") != std::string::npos);
  std::vector<Manifest> made{manifest_of("a", {"x"}), manifest_of("b", {"x", "a_x"})};
  CHECK_THROWS_AS(settle_tool_names(made), std::invalid_argument);
}

TEST_CASE("a renaming registry renames what it is told to, from then on") {
  mcp::Server server({.name = "test"});
  RenamingRegistry registry(server);
  const auto handler = [](const mcp::Json&, mcp::Context&) { return mcp::CallToolResult{}; };
  const mcp::Tool tool{.name = "info", .description = "x", .inputSchema = {{"type", "object"}}};
  registry.rename({{"info", "one_info"}});
  registry.add_typed_tool(tool, handler);
  registry.rename({{"other", "x"}});
  registry.add_tool(tool, handler);
  // Both names are taken now.
  CHECK_THROWS_AS(server.add_tool(tool, handler), std::invalid_argument);
  CHECK_THROWS_AS(
      registry.add_typed_tool(
          {.name = "one_info", .description = "x", .inputSchema = {{"type", "object"}}}, handler),
      std::invalid_argument);
}

}  // namespace
}  // namespace gpumcp::sandbox
