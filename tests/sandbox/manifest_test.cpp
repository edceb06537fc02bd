#include "sandbox/manifest.h"

#include "mcp/plugin.h"
#include "sandbox/plugin_loader.h"
#include "tests/sandbox/support.h"

namespace gpumcp::sandbox {
namespace {

Manifest sample() {
  mcp::Tool tool{.name = "add", .title = "Add", .description = "Adds."};
  tool.inputSchema = mcp::Json::parse(R"({"type":"object","zeta":1,"alpha":2})");
  tool.outputSchema = mcp::Json::parse(R"({"type":"object"})");
  tool.annotations = mcp::ToolAnnotations{.readOnlyHint = true};
  return {"sample",
          "/x/sample.so",
          {tool},
          {{"gpumcp://artifacts/{id}", "artifact", "", "An array.", "application/x-npy"}}};
}

TEST_CASE("a manifest reads back as written, with the schemas' own order of keys") {
  auto back = Manifest::from_json(sample().to_json(), "/x/sample.so");
  REQUIRE(back);
  CHECK(mcp::to_text(back->to_json()) == mcp::to_text(sample().to_json()));
  CHECK(mcp::to_text(back->tools.at(0).inputSchema) == R"({"type":"object","zeta":1,"alpha":2})");
  CHECK(back->templates.at(0).uriTemplate == "gpumcp://artifacts/{id}");
}

TEST_CASE("a manifest of another build or format is refused with what to do") {
  mcp::Json json = sample().to_json();
  json["build"] = "gpumcp 0.0.1";
  auto other = Manifest::from_json(json, "/x/sample.so");
  REQUIRE_FALSE(other);
  CHECK(other.error().message.find("build the interface again") != std::string::npos);
  CHECK_FALSE(Manifest::from_json(mcp::Json::array(), "/x/sample.so"));
}

TEST_CASE("an unknown interface's error names it and what a path looks like") {
  auto found = find_interface("no_such_thing");
  REQUIRE_FALSE(found);
  CHECK(found.error().message.find("unknown interface \"no_such_thing\"") != std::string::npos);
  CHECK(found.error().message.find("./no_such_thing.so") != std::string::npos);
  CHECK(find_interface("/no/such/file.so").error().message ==
        "there is no interface at /no/such/file.so");
}

TEST_CASE("a library that is no interface is refused by name") {
  auto opened = open_plugin("libm.so.6");
  REQUIRE_FALSE(opened);
  CHECK(opened.error().message.find("is no interface") != std::string::npos);
  CHECK_FALSE(open_plugin("/no/such/file.so"));
}

}  // namespace
}  // namespace gpumcp::sandbox
