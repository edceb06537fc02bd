#include "sandbox/python_stubs.h"

#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

using mcp::Json;

mcp::Tool tool_of(const char* input, const char* output = nullptr) {
  mcp::Tool tool{.name = "find_it", .description = "Finds it."};
  tool.inputSchema = Json::parse(input);
  if (output) tool.outputSchema = Json::parse(output);
  return tool;
}

TEST_CASE("what must be given comes first, and defaults are Python's") {
  const Stub stub = make_stub(tool_of(R"({"type":"object","properties":{
      "k":{"type":"integer","default":10},"flag":{"type":"boolean","default":true},"text":{"type":"string"},
      "xs":{"type":"array","items":{"type":"number"},"default":[]},
      "maybe":{"anyOf":[{"type":"string"},{"type":"null"}],"default":null}},
      "required":["text"],"additionalProperties":false})"));
  CHECK(stub.signature() ==
        "(text: str, k: int = 10, flag: bool = True, xs: Optional[List[float]] = None, maybe: "
        "Optional[str] = None) -> Any");
}

TEST_CASE("names that Python reserves are spelled otherwise, and remembered") {
  const Stub stub = make_stub(tool_of(
      R"({"type":"object","properties":{"from":{"type":"string"},"a-b":{}},"required":["from","a-b"]})"));
  REQUIRE(stub.parameters.size() == 2);
  CHECK(stub.parameters[0].name == "from_");
  CHECK(stub.parameters[0].original == "from");
  CHECK(stub.parameters[1].name == "a_b");
}

TEST_CASE("more arguments are taken only where the schema says so") {
  CHECK_FALSE(make_stub(tool_of(R"({"type":"object","properties":{"a":{}}})")).takes_more);
  CHECK_FALSE(make_stub(tool_of(R"({"type":"object","additionalProperties":false})")).takes_more);
  const Stub stub =
      make_stub(tool_of(R"({"type":"object","additionalProperties":{"type":"string"}})"));
  CHECK(stub.takes_more);
  CHECK(stub.signature() == "(**more: Any) -> Any");
}

TEST_CASE("how to return arrays is the module's business, not the caller's") {
  const Stub stub = make_stub(tool_of(
      R"({"type":"object","properties":{"output":{"enum":["ref","inline","file"],"default":"ref"}},"additionalProperties":false})",
      R"({"type":"object","properties":{"result":{"anyOf":[{"type":"array","items":{"type":"number"}},
         {"type":"object","properties":{"uri":{},"path":{},"shape":{}}}]}}})"));
  CHECK(stub.asks_inline);
  CHECK(stub.unwraps);
  CHECK(stub.signature() == "() -> List[float]");
}

TEST_CASE("objects become typed dicts, and those that contain themselves end") {
  const Stub stub = make_stub(tool_of(R"({"type":"object","properties":{
      "tree":{"$ref":"#/$defs/Node"},"mode":{"enum":["a",1,null]}},"required":["tree","mode"],"additionalProperties":false,
      "$defs":{"Node":{"type":"object","properties":{"kids":{"type":"array","items":{"$ref":"#/$defs/Node"}}}}}})"));
  CHECK(stub.signature() == R"((tree: Node, mode: Literal["a", 1, None]) -> Any)");
  REQUIRE(stub.definitions.size() == 1);
  CHECK(stub.definitions[0] ==
        "Node = TypedDict(\"Node\", {\n    \"kids\": \"List[Node]\",\n}, total=False)\n");
}

TEST_CASE("values are written as Python writes them") {
  CHECK(python_literal(Json::parse(R"([true,false,null,1.5,"a\"b",{"k":[]}])")) ==
        R"([True, False, None, 1.5, "a\"b", {"k": []}])");
  CHECK(python_name("3d-view") == "_3d_view");
  CHECK(python_name("class") == "class_");
}

}  // namespace
}  // namespace gpumcp::sandbox
