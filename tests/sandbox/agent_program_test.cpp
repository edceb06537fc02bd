#include "sandbox/agent_program.h"

#include <doctest/doctest.h>

#include <fstream>

#include "sandbox/files.h"
#include "support.h"

using namespace gpumcp;
using sandbox::AgentMessage;
using sandbox::read_agent_line;
using Kind = AgentMessage::Kind;

namespace {

AgentMessage only(const std::string& provider, const char* line) {
  const auto messages = read_agent_line(provider, mcp::Json::parse(line));
  REQUIRE(messages.size() == 1);
  return messages.front();
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const auto& word : words) out += word + "\n";
  return out;
}

sandbox::AgentSetup setup_for(const std::string& provider) {
  sandbox::AgentSetup setup{.provider = provider};
  setup.servers.push_back({.name = "gpu",
                           .command = "/opt/my gpumcp",
                           .args = {"serve", "a \"quoted\" word"},
                           .env = {{"A", "b\"c"}}});
  setup.inherit = {"GPUMCP_LEDGER"};
  return setup;
}

}  // namespace

TEST_CASE("claude's lines: text and tool calls of one message, results, the end") {
  const auto messages = read_agent_line(
      "claude", mcp::Json::parse(
                    R"({"type":"assistant","message":{"content":[{"type":"text","text":"I look."},
        {"type":"tool_use","id":"1","name":"mcp__gpu__embed","input":{"text":"hi"}}]}})"));
  REQUIRE(messages.size() == 2);
  CHECK(messages[0].kind == Kind::text);
  CHECK(messages[0].text == "I look.");
  CHECK(messages[1].kind == Kind::tool_call);
  CHECK(messages[1].tool == "mcp__gpu__embed");
  CHECK(messages[1].text == R"({"text":"hi"})");
  const auto result = only(
      "claude",
      R"({"type":"user","message":{"role":"user","content":[{"type":"tool_result","is_error":true,"content":[{"type":"text","text":"no"}]}]}})");
  CHECK(result.kind == Kind::tool_result);
  CHECK(result.failed);
  CHECK(result.text == "no");
  const auto end =
      only("claude", R"({"type":"result","subtype":"error_max_turns","is_error":true})");
  CHECK(end.kind == Kind::result);
  CHECK(end.failed);
  CHECK(end.text == "error_max_turns");
  CHECK(read_agent_line("claude", mcp::Json::parse(R"({"type":"new_kind","x":[1]})")).empty());
  CHECK(read_agent_line("claude", mcp::Json::parse("[]")).empty());
}

TEST_CASE("codex's lines: items as they start and complete") {
  const auto call = only(
      "codex",
      R"({"type":"item.started","item":{"type":"mcp_tool_call","server":"gpu","tool":"embed","arguments":{"text":"hi"},"status":"in_progress"}})");
  CHECK(call.kind == Kind::tool_call);
  CHECK(call.tool == "gpu.embed");
  const auto result = only(
      "codex",
      R"({"type":"item.completed","item":{"type":"mcp_tool_call","server":"gpu","tool":"embed","result":{"content":[{"type":"text","text":"42"}]},"error":null,"status":"completed"}})");
  CHECK(result.text == "42");
  CHECK_FALSE(result.failed);
  const auto failed = only(
      "codex",
      R"({"type":"item.completed","item":{"type":"mcp_tool_call","result":null,"error":{"message":"gone"},"status":"failed"}})");
  CHECK(failed.failed);
  CHECK(failed.text == "gone");
  const auto shell = only(
      "codex",
      R"({"type":"item.completed","item":{"type":"command_execution","command":"ls","aggregated_output":"x","exit_code":2}})");
  CHECK(shell.failed);
  CHECK(only("codex", R"({"type":"turn.failed","error":{"message":"quota"}})").text == "quota");
}

TEST_CASE("gemini's lines: the user's own words are no message of the agent") {
  CHECK(read_agent_line("gemini",
                        mcp::Json::parse(R"({"type":"message","role":"user","content":"x"})"))
            .empty());
  CHECK(
      only("gemini", R"({"type":"message","role":"assistant","content":"y","delta":true})").text ==
      "y");
  CHECK(only("gemini",
             R"({"type":"tool_result","tool_id":"1","status":"error","error":{"message":"e"}})")
            .failed);
  CHECK(only("gemini", R"({"type":"result","status":"success","stats":{}})").kind == Kind::result);
}

TEST_CASE("each program gets the servers in its own way, with variables by name") {
  sandbox::TemporaryRuntime folder;
  const auto claude = sandbox::prepare_agent(setup_for("claude"), folder.path());
  REQUIRE(claude);
  CHECK(joined(claude->arguments).find("--strict-mcp-config\n--allowedTools\nmcp__gpu\n") !=
        std::string::npos);
  const auto config = mcp::Json::parse(sandbox::read_file(folder.path() / "mcp.json"));
  CHECK(config["mcpServers"]["gpu"]["args"][1] == "a \"quoted\" word");
  CHECK(config["mcpServers"]["gpu"]["env"]["GPUMCP_LEDGER"] == "${GPUMCP_LEDGER}");

  const auto codex = sandbox::prepare_agent(setup_for("codex"), folder.path());
  REQUIRE(codex);
  const std::string words = joined(codex->arguments);
  CHECK(words.find("mcp_servers.gpu.args=[\"serve\", \"a \\\"quoted\\\" word\"]\n") !=
        std::string::npos);
  CHECK(words.find("mcp_servers.gpu.env={\"A\" = \"b\\\"c\"}\n") != std::string::npos);
  CHECK(words.find("mcp_servers.gpu.env_vars=[\"GPUMCP_LEDGER\"]\n") != std::string::npos);
  CHECK(words.find("--sandbox\nread-only\n") != std::string::npos);

  const auto gemini = sandbox::prepare_agent(setup_for("gemini"), folder.path());
  REQUIRE(gemini);
  const auto settings =
      mcp::Json::parse(sandbox::read_file(gemini->env.at("GEMINI_CLI_SYSTEM_SETTINGS_PATH")));
  CHECK(settings["mcpServers"]["gpu"]["trust"] == true);
  CHECK(settings["mcpServers"]["gpu"]["env"]["GPUMCP_LEDGER"] == "$GPUMCP_LEDGER");
}

TEST_CASE("an MCP configuration is read as hosts write it, and what is wrong is named") {
  const auto servers = sandbox::parse_mcp_config(mcp::Json::parse(
      R"({"mcpServers":{"a":{"command":"x","args":["y"],"env":{"K":"v"}},"b":{"type":"http","url":"http://h/mcp","headers":{"Authorization":"Bearer t"}}}})"));
  REQUIRE(servers);
  CHECK(servers->size() == 2);
  CHECK(servers->front().env.at("K") == "v");
  CHECK(servers->back().url == "http://h/mcp");
  CHECK(sandbox::parse_mcp_config(mcp::Json::object())->empty());
  for (const char* broken : {R"({"a":{}})", R"({"a":{"command":"x","args":"y"}})",
                             R"({"a":{"command":"x","env":{"K":1}}})", R"({"a b":{"command":"x"}})",
                             R"({"a":{"command":"x","url":"http://h"}})", R"([1])"})
    CHECK_FALSE(sandbox::parse_mcp_config(mcp::Json::parse(broken)));
}

TEST_CASE("a program that is not there is named with the line that installs it") {
  sandbox::TemporaryRuntime folder;
  const std::string before = std::getenv("PATH");
  setenv("PATH", folder.path().c_str(), 1);
  auto missing = sandbox::find_agent_program("codex");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().message.find("npm install -g @openai/codex") != std::string::npos);
  std::ofstream(folder.path() / "codex") << "#!/bin/sh\n";
  std::filesystem::permissions(folder.path() / "codex", std::filesystem::perms::owner_all);
  CHECK(sandbox::find_agent_program("codex").value() == folder.path() / "codex");
  setenv("PATH", before.c_str(), 1);
  CHECK_FALSE(sandbox::find_agent_program("nobody"));
}
