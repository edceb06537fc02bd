#include "mcp/param_headers.h"
#include "tests/mcp/support.h"

using namespace gpumcp::mcp;
using namespace gpumcp::mcp::test;

namespace {
// A schema whose property "v" has `members`.
Json with_property(const std::string& members) {
  return json(R"({"type":"object","properties":{"v":{)" + members + "}}}");
}
}  // namespace

TEST_CASE("marks are found on string, integer and boolean properties, nested ones too") {
  const auto found = find_param_headers(json(R"({"type":"object","properties":{
    "region":{"type":"string","x-mcp-header":"Region"},
    "plain":{"type":"string"},
    "deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"},
                                          "b":{"type":"boolean","x-mcp-header":"Flag"}}},
    "x-mcp-header":{"type":"string"},
    "c":{"const":{"x-mcp-header":"not a mark"}}}})"));
  REQUIRE(found);
  REQUIRE(found->size() == 3);
  CHECK((*found)[0].name == "Region");
  CHECK((*found)[1].path == std::vector<std::string>{"deep", "n"});
  const Json arguments = json(R"({"region":"eu west","deep":{"n":-7,"b":false}})");
  CHECK(param_header_text(arguments, (*found)[0]) == "eu west");
  CHECK(param_header_text(arguments, (*found)[1]) == "-7");
  CHECK(param_header_text(arguments, (*found)[2]) == "false");
  const Json others = json(R"({"region":null,"deep":{"n":7.0,"b":[]}})");
  CHECK_FALSE(param_header_text(others, (*found)[0]));
  CHECK(param_header_text(others, (*found)[1]) == "7");
  CHECK_FALSE(param_header_text(others, (*found)[2]));
  CHECK_FALSE(param_header_text(json(R"({"deep":5})"), (*found)[1]));
}

TEST_CASE("marks that the spec does not allow are errors that name the property and the rule") {
  for (const char* members :
       {R"("type":"string","x-mcp-header":"")", R"("type":"string","x-mcp-header":7)",
        R"("type":"string","x-mcp-header":"a b")", R"("type":"string","x-mcp-header":"a:b")",
        R"("type":"string","x-mcp-header":"Région")", R"("type":"string","x-mcp-header":"a\tb")",
        R"("type":"number","x-mcp-header":"A")", R"("type":"object","x-mcp-header":"A")",
        R"("type":"array","x-mcp-header":"A")", R"("type":"null","x-mcp-header":"A")",
        R"("x-mcp-header":"A")", R"("anyOf":[{"type":"string","x-mcp-header":"A"}])",
        R"("type":"array","items":{"type":"string","x-mcp-header":"A"})"}) {
    CAPTURE(members);
    const auto found = find_param_headers(with_property(members));
    REQUIRE_FALSE(found);
    CHECK(found.error().code == ErrorCode::invalid_params);
    CHECK(contains(found.error().message, "x-mcp-header at \"v\""));
  }
  const auto twice = find_param_headers(json(R"({"properties":{
    "a":{"type":"string","x-mcp-header":"Same"},"b":{"type":"string","x-mcp-header":"same"}}})"));
  REQUIRE_FALSE(twice);
  CHECK(contains(twice.error().message, "whatever the case"));
  CHECK_FALSE(find_param_headers(json(R"({"type":"string","x-mcp-header":"Root"})")));
  CHECK_FALSE(find_param_headers(
      json(R"({"$defs":{"a":{"properties":{"v":{"type":"string","x-mcp-header":"A"}}}}})")));
}
