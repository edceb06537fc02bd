#include "mcp/protocol.h"

#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {

Tool full_tool() {
  return {.name = "t",
          .title = "T",
          .description = "d",
          .inputSchema = {{"type", "object"}},
          .outputSchema = {{"type", "object"}},
          .annotations = ToolAnnotations{.title = "A", .readOnlyHint = true},
          ._meta = {{"k", 1}}};
}

std::string block(ContentBlock b, std::string_view version) {
  std::string out;
  append_json(out, b, version);
  return out;
}

}  // namespace

TEST_CASE("a tool shows each version only what that version knows") {
  const Tool tool = full_tool();
  for (std::string_view version : kVersions) {
    CAPTURE(version);
    const Json out = to_json(tool, version);
    CHECK(out["name"] == "t");
    CHECK(out["inputSchema"] == Json{{"type", "object"}});
    CHECK(out.contains("title") == (version >= "2025-06-18"));
    CHECK(out.contains("outputSchema") == (version >= "2025-06-18"));
    CHECK(out.contains("_meta") == (version >= "2025-06-18"));
    CHECK(out.contains("annotations") == (version >= "2025-03-26"));
  }
  const auto back = tool_from_json(to_json(tool));
  REQUIRE(back);
  CHECK(to_json(*back) == to_json(tool));
  CHECK_FALSE(tool_from_json(Json::array()));
  CHECK_FALSE(tool_from_json({{"name", 1}}));
}

TEST_CASE("content that an old version does not know becomes text") {
  const ContentBlock link{ResourceLink{.uri = "u://x", .name = "n", .mimeType = "a/b", .size = 7}};
  CHECK(json(block(link, "2025-06-18"))["type"] == "resource_link");
  CHECK(json(block(link, "2025-06-18"))["size"] == 7);
  CHECK(json(block(link, "2025-03-26")) == Json{{"type", "text"}, {"text", "n: u://x (a/b)"}});
  const ContentBlock audio{AudioContent{"QQ==", "audio/wav"}};
  CHECK(json(block(audio, "2025-03-26"))["type"] == "audio");
  CHECK(json(block(audio, "2024-11-05"))["type"] == "text");
  CHECK(json(block({EmbeddedResource{{"u://x", "a/b", "hi"}}}, "2024-11-05"))["resource"]["text"] ==
        "hi");
}

TEST_CASE("resources and templates leave titles out where they are unknown") {
  CHECK_FALSE(
      to_json(Resource{.uri = "u", .name = "n", .title = "T"}, "2025-03-26").contains("title"));
  CHECK(to_json(Resource{.uri = "u", .name = "n", .title = "T", .size = 3})["size"] == 3);
  CHECK_FALSE(to_json(ResourceTemplate{.uriTemplate = "u", .name = "n", .title = "T"}, "2024-11-05")
                  .contains("title"));
}

TEST_CASE("icons go out from 2025-11-25 on, whole, on whatever has them, and come back") {
  const std::vector<Icon> icons = {
      {"https://a.example/i.png", "image/png", {"48x48", "any"}, "dark"},
      {"data:image/svg+xml;base64,PHN2Zy8+"}};
  const Json written = json(R"([
    {"src":"https://a.example/i.png","mimeType":"image/png","sizes":["48x48","any"],"theme":"dark"},
    {"src":"data:image/svg+xml;base64,PHN2Zy8+"}])");
  Tool tool = full_tool();
  tool.icons = icons;
  const Resource resource{.uri = "u", .name = "n", .icons = icons};
  const ResourceTemplate form{.uriTemplate = "u{x}", .name = "n", .icons = icons};
  const Prompt prompt{.name = "p", .icons = icons};
  const Implementation party{.name = "s", .version = "1", .icons = icons};
  for (std::string_view version : kVersions) {
    CAPTURE(version);
    for (const Json& out :
         {to_json(tool, version), to_json(resource, version), to_json(form, version),
          to_json(prompt, version), to_json(party, version)}) {
      CAPTURE(out.dump());
      CHECK(out.contains("icons") == (version >= "2025-11-25"));
      if (out.contains("icons")) CHECK(out["icons"] == written);
    }
  }
  CHECK(to_json(*tool_from_json(to_json(tool)))["icons"] == written);
  CHECK(to_json(*resource_from_json(to_json(resource)))["icons"] == written);
  CHECK(to_json(*resource_template_from_json(to_json(form)))["icons"] == written);
  CHECK(to_json(*prompt_from_json(to_json(prompt)))["icons"] == written);
  CHECK(to_json(implementation_from_json(to_json(party)))["icons"] == written);
  // Icons without a source, or of another type, are passed over.
  const Json strange = json(
      R"({"name":"t","icons":[{"mimeType":"a/b"},7,{"src":5},{"src":"data:,","sizes":[1,"any"]}]})");
  const auto read = tool_from_json(strange);
  REQUIRE(read);
  CHECK(to_json(*read)["icons"] == json(R"([{"src":"data:,","sizes":["any"]}])"));
  CHECK_FALSE(to_json(Tool{.name = "t"}).contains("icons"));
}

TEST_CASE("annotations of a tool, a resource and content are those that each version has") {
  Tool tool{.name = "t",
            .annotations = ToolAnnotations{.title = "A",
                                           .readOnlyHint = true,
                                           .destructiveHint = false,
                                           .idempotentHint = true,
                                           .openWorldHint = false}};
  const Annotations notes{
      .audience = {"user", "assistant"}, .priority = 0.5, .lastModified = "2026-01-02T03:04:05Z"};
  for (std::string_view version : kVersions) {
    CAPTURE(version);
    const Json hints = to_json(tool, version).value("annotations", Json());
    if (version >= "2025-03-26")
      CHECK(hints == json(R"({"title":"A","readOnlyHint":true,"destructiveHint":false,)"
                          R"("idempotentHint":true,"openWorldHint":false})"));
    else
      CHECK(hints.is_null());
    for (const Json& out :
         {to_json(Resource{.uri = "u", .name = "n", .annotations = notes}, version),
          to_json(ResourceTemplate{.uriTemplate = "u", .name = "n", .annotations = notes}, version),
          json(block({TextContent{"hi"}, notes}, version))}) {
      CAPTURE(out.dump());
      CHECK(out["annotations"]["audience"] == json(R"(["user","assistant"])"));
      CHECK(out["annotations"]["priority"] == 0.5);
      CHECK(out["annotations"].contains("lastModified") == (version >= "2025-06-18"));
    }
  }
  // A hint that was not given is not sent: false is not the default of all of them.
  tool.annotations = ToolAnnotations{.readOnlyHint = false};
  CHECK(to_json(tool)["annotations"] == json(R"({"readOnlyHint":false})"));
  CHECK(to_json(*tool_from_json(to_json(tool)))["annotations"] ==
        json(R"({"readOnlyHint":false})"));
  const auto back = annotations_from_json(
      &to_json(Resource{.uri = "u", .name = "n", .annotations = notes})["annotations"]);
  REQUIRE(back);
  CHECK(to_json(*back) == to_json(notes));
}

TEST_CASE("a server shows icons and annotations to each client as its version has them") {
  const std::vector<Icon> icons = {{"https://a.example/i.png"}};
  Server server(
      {.name = "s", .description = "d", .website_url = "https://a.example", .icons = icons});
  server.add_tool({.name = "t",
                   .description = "d",
                   .inputSchema = {{"type", "object"}},
                   .annotations = ToolAnnotations{.readOnlyHint = true},
                   .icons = icons},
                  [](const Json&, Context&) { return CallToolResult::text("x"); });
  const auto nothing = [](const std::string&, Context&) {
    return std::optional<std::vector<ResourceContents>>();
  };
  server.add_resource(
      {.uri = "u://r", .name = "r", .annotations = Annotations{.priority = 1}, .icons = icons},
      nothing);
  server.add_resource_template({.uriTemplate = "u://{x}", .name = "x", .icons = icons}, nothing);
  server.add_prompt({.name = "p", .icons = icons},
                    [](const PromptArguments&, Context&) { return GetPromptResult(); });
  constexpr std::pair<const char*, const char*> kLists[] = {
      {"tools/list", "tools"},
      {"resources/list", "resources"},
      {"resources/templates/list", "resourceTemplates"},
      {"prompts/list", "prompts"}};
  for (std::string_view version : kVersions) {
    CAPTURE(version);
    Peer peer(server);
    Json info;
    if (is_modern_version(version)) {
      info = peer.ask(modern("1", "server/discover"))["result"]["_meta"][kMetaServerInfo];
    } else {
      info = peer.ask(request("1", "initialize",
                              R"("capabilities":{},"protocolVersion":")" + std::string(version) +
                                  "\""))["result"]["serverInfo"];
    }
    const bool knows = version >= "2025-11-25";
    for (const char* key : {"icons", "description", "websiteUrl"})
      CHECK(info.contains(key) == knows);
    for (auto [method, member] : kLists) {
      const Json one =
          peer.ask(is_modern_version(version) ? modern("2", method)
                                              : request("2", method))["result"][member][0];
      CAPTURE(one.dump());
      CHECK(one.contains("icons") == knows);
      if (one["name"] == "t") CHECK(one.contains("annotations") == (version >= "2025-03-26"));
      if (one["name"] == "r") CHECK(one["annotations"]["priority"] == 1);
    }
  }
}

TEST_CASE("a tool's result survives its text") {
  CallToolResult result;
  result.content = {{TextContent{"hé\n\""}},
                    {ImageContent{"QQ==", "image/png"}},
                    {AudioContent{"QUI=", "audio/wav"}},
                    {ResourceLink{.uri = "u://a",
                                  .name = "n",
                                  .title = "t",
                                  .description = "d",
                                  .mimeType = "m",
                                  .size = 0}},
                    {EmbeddedResource{{"u://b", "m", "", "QUJD"}}}};
  result.structuredContent = R"({"a":[1,2.5]})";
  result.isError = true;
  result._meta = {{"k", "v"}};
  const std::string text = to_text(result);
  const auto back = call_tool_result_from_text(text);
  REQUIRE(back);
  CHECK(to_text(*back) == text);
  CHECK_FALSE(json(to_text(result, "2025-03-26")).contains("structuredContent"));
}

TEST_CASE("structured numbers and unknown content are read and written as they came") {
  // 0.016768804 is a double that nlohmann's writer gives as 0.016768803999999998.
  const char* text =
      R"({"content":[{"type":"new","x":[1]}],"structuredContent":{"v":[0.016768804,1e2]}})";
  auto result = call_tool_result_from_text(text);
  REQUIRE(result);
  CHECK(result->structuredContent == R"({"v":[0.016768804,1e2]})");
  CHECK(to_text(*result) == text);
}

TEST_CASE("a hostile result is an error, not a crash") {
  for (const char* text :
       {"[]", "{}", "1", R"({"content":1})", R"({"content":[1]})",
        R"({"content":[{"type":"resource"}]})",
        R"({"content":[{"type":"resource","resource":{}}]})", R"({"content":[{}]})", "{"}) {
    CAPTURE(text);
    CHECK_FALSE(call_tool_result_from_text(text));
  }
  for (const char* text :
       {"[]", "{}", R"({"contents":{}})", R"({"contents":[{}]})", R"({"contents":[3]})"})
    CHECK_FALSE(resource_contents_from_text(text));
  CHECK(call_tool_result_from_text(
      R"({"content":[{"type":"text","text":5}],"isError":"yes","_meta":null})"));
}

TEST_CASE("a result with a number beyond double is an error, not an exception") {
  for (const char* text : {R"({"content":[{"type":"text","text":"a","x":1e999}]})",
                           R"({"content":[],"_meta":{"a":-1e999}})"})
    CHECK(!call_tool_result_from_text(text));
  CHECK(call_tool_result_from_text(R"({"content":[],"structuredContent":{"a":1e999}})"));
}

TEST_CASE("a result of very many members is read in time linear in them") {
  // Looking for each key among those before it took minutes.
  std::string many = R"({"type":"text","text":"a")";
  for (int i = 0; i < 200'000; ++i) many += ",\"" + std::to_string(i) + "\":0";
  many += '}';
  auto result = call_tool_result_from_text("{\"content\":[" + many + "],\"_meta\":" + many + "}");
  REQUIRE(result);
  CHECK(result->_meta.size() == 200'002);
}

TEST_CASE("base64 is strict and round-trips") {
  const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                         {"f", "Zg=="},
                                                         {"fo", "Zm8="},
                                                         {"foo", "Zm9v"},
                                                         {"foob", "Zm9vYg=="},
                                                         {"fooba", "Zm9vYmE="},
                                                         {"foobar", "Zm9vYmFy"}};
  for (auto& [plain, coded] : vectors) {
    CHECK(base64_encode(plain) == coded);
    CHECK(base64_decode(coded) == plain);
  }
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  CHECK(base64_decode(base64_encode(bytes)) == bytes);
  for (const char* bad : {"Z", "Zg", "Zg=", "Zg===", "Z===", "====", "=", "Zh==", "Zm9=", "Zm-v",
                          "Zm_v", "Zm9v\n", " Zm9v", "Zm=v", "Zg==Zg==", "Zm9\xC3"}) {
    CAPTURE(bad);
    CHECK_FALSE(base64_decode(bad));
  }
}

TEST_CASE("versions and log levels are known by their exact names") {
  for (std::string_view v : kVersions) CHECK(is_supported_version(v));
  for (std::string_view v : {"", "2026-07-29", "2025-11-2", "2025-11-25 "})
    CHECK_FALSE(is_supported_version(v));
  CHECK(is_modern_version(kModernVersion));
  CHECK_FALSE(is_modern_version(kLatestLegacyVersion));
  for (int i = 0; i < 8; ++i) {
    const auto level = static_cast<LogLevel>(i);
    CHECK(find_log_level(log_level_name(level)) == level);
  }
  CHECK_FALSE(find_log_level("Info"));
}
