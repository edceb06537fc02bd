// The raw door checks arguments and results by the tool's own schemas; the typed door and
// forwarded tools do not pass through it.
#include <atomic>

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

Tool raw_tool(std::string_view input, std::string_view output = "null") {
  return {
      .name = "raw", .description = "d", .inputSchema = json(input), .outputSchema = json(output)};
}

std::string text_of(const Json& answer) {
  REQUIRE(answer.contains("result"));
  return answer["result"]["content"][0]["text"].get<std::string>();
}

std::string refusal(const Tool& tool) {
  Server server;
  try {
    server.add_tool(tool, [](const Json&, Context&) { return CallToolResult::text("x"); });
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "(accepted)";
}

constexpr std::string_view kTexts =
    R"({"type":"object","properties":{"texts":{"type":"array","items":{"type":"string","minLength":1}}},
        "required":["texts"],"additionalProperties":false})";

}  // namespace

TEST_CASE("peers 9: a raw tool's handler sees only arguments that conform to its inputSchema") {
  Server server;
  std::atomic<int> runs = 0;
  server.add_tool(raw_tool(kTexts), [&](const Json& arguments, Context&) {
    ++runs;
    return CallToolResult::text(to_text(arguments));
  });
  Peer peer(server);
  auto says = [&](const char* arguments, bool error) {
    const Json answer = peer.ask(modern_call("1", "raw", arguments));
    CHECK(answer["result"].value("isError", false) == error);
    return text_of(answer);
  };
  CHECK(says(R"({"texts":["a",null]})", true) == "arguments.texts[1]: expected a string, got null");
  CHECK(says(R"({"texts":[""]})", true) ==
        "arguments.texts[0]: expected at least 1 character, got 0");
  CHECK(says(R"({"text":["a"]})", true) ==
        "arguments.texts is missing: give an array\n"
        "arguments.text is unknown; did you mean \"texts\"?");
  CHECK(runs == 0);
  CHECK(says(R"({"texts":["a"]})", false) == R"({"texts":["a"]})");
  CHECK(runs == 1);
}

TEST_CASE("the raw door tells of the same fault in the typed door's words") {
  Server server;
  server.expose(
      "typed", "d", [](std::vector<std::string> texts) { return texts.size(); }, arg("texts"));
  server.add_tool(raw_tool(kTexts),
                  [](const Json&, Context&) { return CallToolResult::text("x"); });
  Peer peer(server);
  for (const char* arguments : {R"({"texts":3})", R"({"texts":["a",5]})",
                                R"({"texts":[],"txts":1})", R"({"texts":{"a":1}})"}) {
    CAPTURE(arguments);
    CHECK(text_of(peer.ask(call("1", "raw", arguments))) ==
          text_of(peer.ask(call("2", "typed", arguments))));
  }
}

TEST_CASE("structuredContent that its outputSchema does not allow never goes out") {
  struct Case {
    const char *structured, *said;
  };
  const Case cases[] = {
      {R"({"n":1})", "fine"},
      {R"({"n":"1"})",
       "raw failed: its result is not what its outputSchema promises: "
       "structuredContent.n: expected an integer, got the string \"1\""},
      {"", "raw failed: its result lacks structuredContent, which its outputSchema promises"},
      {R"({"n":)", "raw failed: its result is not what its outputSchema promises: "},
  };
  const char* output = R"({"type":"object","properties":{"n":{"type":"integer"}}})";
  for (const Case& one : cases) {
    CAPTURE(one.structured);
    Server server;
    server.add_tool(raw_tool(R"({"type":"object"})", output), [&](const Json&, Context&) {
      CallToolResult result = CallToolResult::text("fine");
      result.structuredContent = one.structured;
      return result;
    });
    Peer peer(server);
    const Json answer = peer.ask(modern_call("1", "raw"));
    CHECK(text_of(answer).starts_with(one.said));
    CHECK(answer["result"].value("isError", false) == (std::string_view(one.said) != "fine"));
    CHECK(answer["result"].contains("structuredContent") == (std::string_view(one.said) == "fine"));
  }
}

TEST_CASE("an error that a raw tool answers needs no structuredContent") {
  Server server;
  server.add_tool(raw_tool(R"({"type":"object"})", R"({"type":"object","required":["n"]})"),
                  [](const Json&, Context&) { return CallToolResult::error("out of stock"); });
  Peer peer(server);
  CHECK(text_of(peer.ask(modern_call("1", "raw"))) == "out of stock");
}

TEST_CASE("a schema that does not compile is refused when the tool is added") {
  CHECK(refusal(raw_tool(R"({"type":"object","properties":{"a":{"type":"text"}}})"))
            .starts_with("tool \"raw\", inputSchema: schema #/properties/a/type: the string "
                         "\"text\" is no type"));
  CHECK(contains(refusal(raw_tool(R"({"type":"object","$ref":"https://a/b"})")), "not fetched"));
  CHECK(contains(refusal(raw_tool(R"({"type":"object"})", R"({"minItems":-1})")),
                 "tool \"raw\", outputSchema: schema #/minItems"));
  CHECK(refusal(raw_tool(R"({"type":"object"})", R"({"type":"object"})")) == "(accepted)");
}

TEST_CASE("forwarded tools keep schemas and arguments as they are: whoever runs them checks") {
  Server server;
  server.add_forwarded({{.name = "far",
                         .description = "d",
                         .inputSchema = json(R"({"type":"object","properties":{"a":{"type":"x"}},
                                                 "required":["a"]})")}},
                       {}, [](std::shared_ptr<ForwardedRequest> request) {
                         CHECK(request->arguments() == R"({ "b" : 1 })");
                         request->respond_tool_error("forwarded");
                       });
  Peer peer(server);
  CHECK(text_of(peer.ask(modern_call("1", "far", R"({ "b" : 1 })"))) == "forwarded");
}
