// Any schema compiles or is refused, and any value is judged within the bounds: the three ways of
// asking agree, a schema means the same after it was written and read, and inside an allOf; its
// opposite refuses what it accepts. Input: the schema, a newline, the value.
#include <chrono>

#include "mcp/json_schema.h"
#include "tests/fuzz/fuzz.h"

using namespace gpumcp::mcp;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto parts = fuzz::lines(data, size, 2);
  const auto schema = parse_json(parts[0]);
  const auto value = parse_json(parts[1]);
  if (!schema || !value) return 0;
  const JsonSchemaOptions tight{.assert_formats = (size & 1) != 0,
                                .max_depth = 24,
                                .max_subschemas = 200,
                                .max_steps = 20'000};
  const auto compiled = JsonSchema::compile(*schema, tight);
  (void)fill_defaults(*schema, *value);
  if (!compiled) {
    FUZZ_CHECK(!compiled.error().message.empty());
    FUZZ_CHECK(compiled.error().message.find('\n') == std::string::npos);
    return 0;
  }
  const auto began = std::chrono::steady_clock::now();
  const bool accepted = compiled->accepts(*value);
  const auto issues = compiled->issues(*value);
  // "max_steps: of one validation" is about 100 ns a step; a sanitizer costs ten times that.
  FUZZ_CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(5));
  FUZZ_CHECK(accepted == issues.empty());
  FUZZ_CHECK(accepted == compiled->validate(*value).has_value());
  FUZZ_CHECK(issues.size() <= tight.max_issues);
  for (const SchemaIssue& issue : issues) FUZZ_CHECK(!issue.message.empty());

  JsonSchemaOptions wide = tight;  // room for what is put around the schema
  wide.max_depth += 4;
  wide.max_subschemas += 4;
  wide.max_steps += 1000;
  const auto again = JsonSchema::compile(*parse_json(to_text(*schema)), wide);
  FUZZ_CHECK(again && (!accepted || again->accepts(*value)));
  // References and names say where a schema stands, so moving it would change what it means.
  if (parts[0].find('$') != parts[0].npos || parts[0].find("\\u") != parts[0].npos) return 0;
  const auto inside = JsonSchema::compile({{"allOf", Json::array({*schema})}}, wide);
  const auto opposite = JsonSchema::compile({{"not", *schema}}, wide);
  FUZZ_CHECK(inside && opposite);
  if (accepted) FUZZ_CHECK(inside->accepts(*value) && !opposite->accepts(*value));
  return 0;
}
