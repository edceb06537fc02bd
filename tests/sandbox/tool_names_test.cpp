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

TEST_CASE("names with an interface's before them have 24 characters at most") {
  std::vector<Manifest> all{manifest_of("language_model", {"get_model_info", "chat"}),
                            manifest_of("embeddings", {"get_model_info", "chat"})};
  settle_tool_names(all);
  CHECK(names_of(all[0]) ==
        std::vector<std::string>{"language_get_model_info", "language_model_chat"});
  CHECK(names_of(all[1]) ==
        std::vector<std::string>{"embedding_get_model_info", "embeddings_chat"});
  // What differs at the end only is told apart there.
  std::vector<Manifest> versions{manifest_of("report_tools_v1", {"get_model_info"}),
                                 manifest_of("report_tools_v2", {"get_model_info"})};
  settle_tool_names(versions);
  CHECK(names_of(versions[0]) == std::vector<std::string>{"tools_v1_get_model_info"});
  CHECK(names_of(versions[1]) == std::vector<std::string>{"tools_v2_get_model_info"});
  const std::string longest(22, 'x'), longer(23, 'x');
  std::vector<Manifest> full{manifest_of("one", {longest}), manifest_of("two", {longest})};
  settle_tool_names(full);
  CHECK(names_of(full[0]) == std::vector<std::string>{"o_" + longest});
  std::string said;
  std::vector<Manifest> beyond{manifest_of("one", {longer}), manifest_of("two", {longer})};
  try {
    settle_tool_names(beyond);
  } catch (const std::invalid_argument& e) {
    said = e.what();
  }
  CHECK(said.find("/x/one.so and /x/two.so both have a tool " + longer) != std::string::npos);
  CHECK(said.find("24 at most") != std::string::npos);
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
