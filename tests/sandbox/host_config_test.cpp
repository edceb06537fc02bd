#include "sandbox/host_config.h"

#include "mcp/json.h"
#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

const std::vector<std::string> kArgs = {"serve", "--model", "a b=/x \"y\""};

TEST_CASE("JSON hosts get an entry that parses, with command and arguments as given") {
  for (auto& [host, root] :
       std::vector<std::pair<std::string, std::string>>{{"claude-desktop", "mcpServers"},
                                                        {"claude-code", "mcpServers"},
                                                        {"gemini", "mcpServers"},
                                                        {"cursor", "mcpServers"},
                                                        {"vscode", "servers"}}) {
    CAPTURE(host);
    auto entry = host_config(host, "gpu", "/opt/gpu mcp", kArgs);
    REQUIRE(entry);
    auto json = mcp::parse_json(entry->text);
    REQUIRE(json);
    const mcp::Json& server = json->at(root).at("gpu");
    CHECK(server.at("command") == "/opt/gpu mcp");
    CHECK(server.at("args") == kArgs);
    CHECK_FALSE(entry->where.empty());
  }
}

TEST_CASE("codex gets a TOML table with strings escaped") {
  auto entry = host_config("codex", "gpu", "/opt/gpumcp", kArgs);
  REQUIRE(entry);
  CHECK(entry->text ==
        "[mcp_servers.gpu]\ncommand = \"/opt/gpumcp\"\nargs = [\"serve\", \"--model\", \"a b=/x "
        "\\\"y\\\"\"]");
}

TEST_CASE("the claude-code line quotes what a shell would split") {
  auto entry = host_config("claude-code", "gpu", "/opt/gpu mcp", {"serve", "it's"});
  REQUIRE(entry);
  CHECK(entry->where.find("claude mcp add gpu -- '/opt/gpu mcp' serve 'it'\\''s'") !=
        std::string::npos);
}

TEST_CASE("an unknown host has no entry") { CHECK_FALSE(host_config("emacs", "gpu", "/x", {})); }

}  // namespace
}  // namespace gpumcp::sandbox
