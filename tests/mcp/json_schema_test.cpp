#include "mcp/json_schema.h"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

using namespace gpumcp::mcp;

namespace {

Json json(std::string_view text) {
  auto value = parse_json(text);
  REQUIRE_MESSAGE(value.has_value(), text);
  return std::move(*value);
}

JsonSchema compiled(std::string_view text, const JsonSchemaOptions& options = {}) {
  auto schema = JsonSchema::compile(json(text), options);
  REQUIRE_MESSAGE(schema.has_value(), (schema ? "" : schema.error().message));
  return std::move(*schema);
}

std::string refusal(std::string_view schema, const JsonSchemaOptions& options = {}) {
  auto result = JsonSchema::compile(json(schema), options);
  REQUIRE_MESSAGE(!result.has_value(), schema);
  CHECK(result.error().code == ErrorCode::invalid_params);
  return result.error().message;
}

// All messages, a line each.
std::string complaint(std::string_view schema, std::string_view value,
                      const JsonSchemaOptions& options = {}) {
  const JsonSchema one = compiled(schema, options);
  const auto result = one.validate(json(value));
  CHECK(one.accepts(json(value)) == result.has_value());
  return result ? "" : result.error().message;
}

bool has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("an issue names the path, what was expected and what came, in one line") {
  struct Case {
    const char *schema, *value, *message;
  };
  const Case cases[] = {
      {R"({"type":"string"})", "null", "arguments: expected a string, got null"},
      {R"({"type":["integer","null"]})", "1.5",
       "arguments: expected an integer or null, got the number 1.5"},
      {R"({"properties":{"a":{"items":{"type":"number"}}}})", R"({"a":[1,"2"]})",
       "arguments.a[1]: expected a number, got the string \"2\""},
      {R"({"enum":["a",1,null]})", "2",
       "arguments: expected one of \"a\", 1, null, got the number 2"},
      {R"({"const":{"a":1}})", "1", "arguments: expected exactly {\"a\":1}, got the number 1"},
      {R"({"minimum":0.5})", "0", "arguments: expected a number of at least 0.5, got the number 0"},
      {R"({"exclusiveMaximum":3})", "3", "arguments: expected a number below 3, got the number 3"},
      {R"({"multipleOf":0.01})", "0.015",
       "arguments: expected a multiple of 0.01, got the number 0.015"},
      {R"({"minLength":2})", "\"é\"", "arguments: expected at least 2 characters, got 1"},
      {R"({"maxLength":1})", "\"ab\"", "arguments: expected at most 1 character, got 2"},
      {R"({"pattern":"^a"})", "\"b\"",
       "arguments: expected a string that matches the pattern \"^a\", got the string \"b\""},
      {R"({"minItems":1})", "[]", "arguments: expected at least 1 item, got 0"},
      {R"({"uniqueItems":true})", "[2,1,1.0]",
       "arguments: items 1 and 2 are equal, but all must differ"},
      {R"({"contains":{"type":"null"},"minContains":2})", "[null]",
       "arguments: expected at least 2 items that \"contains\" asks for, got 1"},
      {R"({"required":["a"],"properties":{"a":{"type":"string"}}})", "{}",
       "arguments.a is missing: give a string"},
      {R"({"dependentRequired":{"a":["b"]}})", R"({"a":1})",
       "arguments.b is missing: it is needed beside \"a\""},
      {R"({"properties":{"text":true},"additionalProperties":false})", R"({"txet":1})",
       "arguments.txet is unknown; did you mean \"text\"?"},
      {R"({"properties":{"text":true},"unevaluatedProperties":false})", R"({"k":1})",
       "arguments.k is unknown; known: text"},
      {R"({"propertyNames":{"maxLength":1}})", R"({"ab":1})",
       "the name of arguments.ab: expected at most 1 character, got 2"},
      {R"({"properties":{"a":false}})", R"({"a":1})",
       "arguments.a: no value is allowed here, got the number 1"},
      {R"({"not":{"type":"string"}})", "\"a\"",
       "arguments: the string \"a\" is what \"not\" forbids"},
      {R"({"anyOf":[{"type":"string"},{"type":"null"}]})", "1",
       "arguments: expected a string or null, got the number 1"},
      {R"({"anyOf":[{"type":"string"},{"minimum":3}]})", "1",
       "arguments: none of 2 alternatives fits: (1) expected a string, got the number 1; "
       "(2) expected a number of at least 3, got the number 1"},
      {R"({"oneOf":[{"minimum":1},{"maximum":5},true]})", "3",
       "arguments: matches alternatives 1 and 2 of 3, but must match exactly one"},
      {R"({"type":"object","additionalProperties":{"type":"null"}})", R"({"a b\n":1})",
       "arguments[\"a b\\n\"]: expected null, got the number 1"},
  };
  for (const Case& one : cases) CHECK(complaint(one.schema, one.value) == one.message);
}

TEST_CASE("an issue names its keyword and where the schema says so") {
  const JsonSchema schema =
      compiled(R"({"properties":{"a/b":{"$ref":"#/$defs/n"}},"$defs":{"n":{"minimum":3}}})");
  const auto issues = schema.issues(json(R"({"a/b":1})"), "answer");
  REQUIRE(issues.size() == 1);
  CHECK(issues[0].path == "answer.a/b");
  CHECK(issues[0].keyword == "minimum");
  CHECK(issues[0].schema_path == "#/$defs/n/minimum");
}

TEST_CASE("several issues are told at once, up to the limit") {
  const std::string schema = R"({"items":{"type":"string"}})";
  CHECK(compiled(schema).issues(json("[1,2,\"\",3]")).size() == 3);
  CHECK(compiled(schema, {.max_issues = 2}).issues(json("[1,2,3]")).size() == 2);
  CHECK(has(complaint(R"({"required":["a","b"]})", "{}"), "\n"));
}

TEST_CASE("only 2020-12 is spoken; another dialect is refused by name") {
  compiled(R"({"$schema":"https://json-schema.org/draft/2020-12/schema#"})");
  const std::string message =
      refusal(R"({"$schema":"http://json-schema.org/draft-07/schema#","type":"string"})");
  CHECK(has(message, "http://json-schema.org/draft-07/schema"));
  CHECK(has(message, "draft/2020-12"));
  CHECK(has(refusal(R"({"properties":{"a":{"$id":"b","$schema":"urn:x"}}})"), "\"urn:x\""));
}

TEST_CASE("a broken schema is refused with the place and the remedy") {
  CHECK(refusal(R"({"properties":{"a":{"type":"strnig"}}})") ==
        "schema #/properties/a/type: the string \"strnig\" is no type: use null, boolean, integer, "
        "number, string, array or object");
  CHECK(has(refusal(R"({"items":[{}]})"), "prefixItems"));
  CHECK(has(refusal("[]"), "a schema is an object, true or false, not an array of 0 items"));
  for (const char* broken :
       {R"({"minLength":-1})", R"({"minLength":1.5})", R"({"minimum":"1"})", R"({"multipleOf":0})",
        R"({"required":"a"})", R"({"enum":1})", R"({"allOf":[]})", R"({"properties":[]})",
        R"({"pattern":1})", R"({"$ref":1})", R"({"$id":"a#b"})", R"({"$anchor":"1"})",
        R"({"uniqueItems":1})", R"({"type":[]})", R"({"additionalProperties":1})",
        R"({"exclusiveMinimum":true})", R"({"$defs":{"a":{"$anchor":"x"},"b":{"$anchor":"x"}}})",
        R"({"$defs":{"a":{"$id":"x"},"b":{"$id":"x"}}})", R"({"patternProperties":{"(":true}})"})
    CHECK(has(refusal(broken), "schema #"));
}

TEST_CASE("nothing is fetched: a reference to what is not here is refused") {
  const std::string message =
      refusal(R"({"properties":{"a":{"$ref":"https://example.com/a.json"}}})");
  CHECK(has(message, "#/properties/a/$ref: \"https://example.com/a.json\" is not here"));
  CHECK(has(message, "not fetched"));
  CHECK(has(refusal(R"({"$ref":"#/$defs/none"})"), "there is no \"$defs\""));
  CHECK(has(refusal(R"({"$ref":"#none"})"), "names no $anchor"));
  CHECK(has(refusal(R"({"$ref":"#/a/01","a":[{},{}]})"), "there is no \"01\""));
}

TEST_CASE("references find given documents, and the meta-schema without any") {
  const JsonSchemaOptions options{
      .documents = {{"https://example.com/a.json", json(R"({"$defs":{"n":{"type":"null"}}})")}}};
  const std::string schema = R"({"$ref":"https://example.com/a.json#/$defs/n"})";
  CHECK(complaint(schema, "null", options) == "");
  CHECK(complaint(schema, "1", options) == "arguments: expected null, got the number 1");
  const std::string meta = R"({"$ref":"https://json-schema.org/draft/2020-12/schema"})";
  CHECK(complaint(meta, R"({"properties":{"a":{"minLength":1}}})") == "");
  CHECK(complaint(meta, R"({"properties":{"a":{"minLength":-1}}})") ==
        "arguments.properties.a.minLength: expected a number of at least 0, got the number -1");
}

TEST_CASE("references that lead round in a circle are refused, those into the value are not") {
  for (
      const char* endless :
      {R"({"$ref":"#"})", R"({"allOf":[{"$ref":"#"}]})", R"({"not":{"$ref":"#"}})",
       R"({"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"anyOf":[true,{"$ref":"#/$defs/a"}]}}})",
       R"({"if":true,"then":{"$ref":"#"}})", R"({"dependentSchemas":{"a":{"$ref":"#"}}})"})
    CHECK(has(refusal(endless), "never end"));
  CHECK(complaint(R"({"properties":{"a":{"$ref":"#"}},"required":["b"]})",
                  R"({"b":1,"a":{"b":1,"a":{}}})") == "arguments.a.a.b is missing");
  // Only known while a value is checked.
  CHECK(has(complaint(R"({"$dynamicAnchor":"a","$dynamicRef":"#a"})", "1"),
            "subschemas into one another"));
}

TEST_CASE("nesting is bounded in schemas and in values") {
  std::string schema;
  const std::string value = fmt::format("{:[>70}{:]>70}", "", "");
  for (int i = 0; i < 70; ++i) schema += R"({"items":)";
  schema += "true";
  schema.append(70, '}');
  const auto deep = JsonSchema::compile(Json::parse(schema));
  REQUIRE_FALSE(deep.has_value());
  CHECK(has(deep.error().message, "nested deeper than 64 levels"));
  for (const char* any : {"{}", R"({"uniqueItems":true})", R"({"const":1})"}) {
    const auto issues = compiled(any).issues(Json::parse(value));
    REQUIRE(issues.size() == 1);
    CHECK(issues[0].message == "arguments is nested deeper than 64 levels");
  }
}

TEST_CASE("a long chain of references ends cleanly") {
  Json defs = Json::object();
  for (int i = 0; i < 5000; ++i)
    defs[fmt::format("d{}", i)] = {{"$ref", fmt::format("#/$defs/d{}", i + 1)}};
  defs["d5000"] = {{"type", "string"}};
  const auto schema = JsonSchema::compile({{"$ref", "#/$defs/d0"}, {"$defs", defs}});
  REQUIRE(schema.has_value());
  CHECK_FALSE(schema->accepts("a"));
  CHECK(has(schema->validate("a").error().message, "more than 1000 subschemas"));
}

TEST_CASE("subschemas are counted, those of other documents too") {
  Json properties = Json::object();
  for (int i = 0; i < 100; ++i) properties[std::to_string(i)] = Json::object();
  const Json schema = {{"properties", properties}};
  CHECK(JsonSchema::compile(schema, {.max_subschemas = 101}).has_value());
  const auto refused = JsonSchema::compile(schema, {.max_subschemas = 100});
  REQUIRE_FALSE(refused.has_value());
  CHECK(has(refused.error().message, "more than 100 subschemas"));
  CHECK(has(
      refusal(R"({"$ref":"https://json-schema.org/draft/2020-12/schema"})", {.max_subschemas = 20}),
      "more than 20"));
}

TEST_CASE("a schema that doubles its work at each level is stopped") {
  Json defs = Json::object();
  for (int i = 0; i < 60; ++i) {
    const Json next = {{"$ref", fmt::format("#/$defs/d{}", i + 1)}};
    defs[fmt::format("d{}", i)] = {{"allOf", {next, next}}};
  }
  defs["d60"] = true;
  const auto schema =
      JsonSchema::compile({{"$ref", "#/$defs/d0"}, {"$defs", defs}}, {.max_steps = 100'000});
  REQUIRE(schema.has_value());
  const auto issues = schema->issues(1);
  REQUIRE(issues.size() == 1);
  CHECK(issues[0].keyword.empty());
  CHECK(has(issues[0].message, "takes too many steps to check: send a smaller value"));
  // Nor does "not" turn the stop into a yes.
  CHECK_FALSE(JsonSchema::compile({{"not", {{"$ref", "#/$defs/d0"}}}, {"$defs", defs}},
                                  {.max_steps = 100'000})
                  ->accepts(1));
}

TEST_CASE("bytes that are compared count as steps") {
  const Json long_text = std::string(1 << 20, 'a');
  Json all = Json::array();
  for (int i = 0; i < 50; ++i) all.push_back({{"enum", {long_text}}});
  CHECK_FALSE(JsonSchema::compile({{"allOf", all}}, {.max_steps = 1'000'000})->accepts(long_text));
  CHECK(JsonSchema::compile({{"allOf", all}})->accepts(long_text));
}

TEST_CASE("what is marked for unevaluatedItems, and large patterns, count as steps") {
  Json any = Json::array();
  for (int i = 0; i < 5000; ++i) any.push_back(Json::object());
  const auto marks = JsonSchema::compile({{"anyOf", any}, {"unevaluatedItems", false}});
  REQUIRE(marks.has_value());
  CHECK(marks->accepts(Json::array()));
  const Json wide(Json::array_t(200'000, 1));
  CHECK(has(marks->validate(wide).error().message, "takes too many steps"));

  const auto large = JsonSchema::compile({{"pattern", "^.{1,1000}$"}});
  REQUIRE(large.has_value());
  CHECK(large->accepts(std::string(1000, 'a')));
  CHECK(has(large->validate(std::string(4 << 20, 'a')).error().message, "too many steps"));
  const auto small = JsonSchema::compile({{"pattern", "^[A-Za-z0-9+/]*={0,2}$"}});
  CHECK(small->accepts(std::string(32 << 20, 'a')));
}

TEST_CASE("patterns that backtracking would never finish take one pass") {
  const std::string text = std::string(300'000, 'a') + "!";
  for (const char* pattern : {"^(a+)+$", "^(a|aa)+$", "^(a*)*b$", "^([a-z]+)*[0-9]$"}) {
    const auto schema = JsonSchema::compile({{"pattern", pattern}});
    REQUIRE(schema.has_value());
    CHECK_FALSE(schema->accepts(text));
  }
}

TEST_CASE("patterns that need backtracking or too much room are refused") {
  CHECK(has(refusal(R"({"pattern":"^(?!\\s*$).+"})"), "look-ahead is not supported"));
  CHECK(has(refusal(R"({"patternProperties":{"(?<=a)b":true}})"), "look-behind"));
  CHECK(has(refusal(R"({"pattern":"(a)\\1"})"), "back-references"));
  CHECK(has(refusal(R"({"pattern":"a{2000}"})"), "at most 1000 times"));
  CHECK(has(refusal(R"({"pattern":"((a{100}){100}){100}"})"), "cannot be used"));
  Json many = Json::object();
  for (int i = 0; i < 2000; ++i) many[fmt::format("\\p{{L}}{{100}}{}", i)] = true;
  const auto refused = JsonSchema::compile({{"patternProperties", many}});
  REQUIRE_FALSE(refused.has_value());
  CHECK(has(refused.error().message, "too large together"));
}

TEST_CASE("numbers are equal by value and compared exactly") {
  CHECK(complaint(R"({"const":1})", "1.0") == "");
  CHECK(complaint(R"({"enum":[{"a":[1.0,-0.0]}]})", R"({"a":[1,0]})") == "");
  CHECK(complaint(R"({"const":1})", "true") != "");
  CHECK(complaint(R"({"type":"integer"})", "1e300") == "");
  CHECK(complaint(R"({"type":"integer"})", "123456789012345678901234567890") == "");
  CHECK(complaint(R"({"maximum":18446744073709551615})", "18446744073709551616") != "");
  CHECK(complaint(R"({"maximum":9007199254740993})", "9007199254740993") == "");
  CHECK(complaint(R"({"maximum":9007199254740992.0})", "9007199254740993") != "");
  CHECK(complaint(R"({"minimum":-9223372036854775808})", "-9223372036854775809") ==
        "");  // a double
  CHECK_FALSE(parse_json("1e400").has_value());
}

TEST_CASE("numbers that JSON cannot write are refused, not fatal") {
  for (double number : {std::nan(""), std::numeric_limits<double>::infinity()}) {
    CHECK_FALSE(compiled(R"({"type":"integer"})").accepts(number));
    CHECK_FALSE(compiled(R"({"multipleOf":2})").accepts(number));
    CHECK_FALSE(compiled(R"({"enum":[1]})").accepts(number));
    (void)compiled(R"({"minimum":1,"maximum":2})").issues(number);
    CHECK_FALSE(JsonSchema::compile({{"minimum", number}}).has_value());
  }
}

TEST_CASE("a huge enum is searched, and its message is cut") {
  Json values = Json::array();
  for (int i = 0; i < 200'000; ++i) values.push_back(fmt::format("value{}", i));
  const auto schema = JsonSchema::compile({{"items", {{"enum", values}}}});
  REQUIRE(schema.has_value());
  CHECK(schema->accepts(values));  // 200,000 times 200,000 comparisons would not end
  const std::string message = schema->issues({"x"})[0].message;
  CHECK(message.size() < 400);
  CHECK(has(message, "(200000 values)"));
}

TEST_CASE("objects of many members against many names are no square of work") {
  Json object = Json::object(), required = Json::array(), properties = Json::object();
  auto& members = object.get_ref<Json::object_t&>();
  for (int i = 0; i < 50'000; ++i) {
    static_cast<std::vector<std::pair<const std::string, Json>>&>(members).emplace_back(
        fmt::format("k{}", i), i);
    required.push_back(fmt::format("k{}", 49'999 - i));
  }
  const auto schema = JsonSchema::compile({{"required", required},
                                           {"additionalProperties", {{"type", "integer"}}},
                                           {"uniqueItems", true}});
  REQUIRE(schema.has_value());
  CHECK(schema->accepts(object));
}

TEST_CASE("formats are asserted only where the options say so") {
  const std::string schema = R"({"format":"email"})";
  CHECK(complaint(schema, "\"nobody\"") == "");
  CHECK(complaint(schema, "\"nobody\"", {.assert_formats = true}) ==
        "arguments: expected an e-mail address such as \"name@example.com\", got the string "
        "\"nobody\"");
  CHECK(complaint(schema, "7", {.assert_formats = true}) == "");
  CHECK(complaint(R"({"format":"colour"})", "\"x\"", {.assert_formats = true}) == "");
}

TEST_CASE("one schema serves several threads at once") {
  const JsonSchema schema = compiled(
      R"({"properties":{"a":{"pattern":"^x+$","enum":["x","xx"]}},"unevaluatedProperties":false})");
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const JsonSchema mine = schema;
      for (int i = 0; i < 200; ++i) {
        if (!mine.accepts({{"a", "xx"}}) || mine.issues({{"a", "y"}}).size() != 2) ++wrong;
      }
    });
  }
  threads.clear();
  CHECK(wrong == 0);
}

TEST_CASE("fill_defaults gives what an answer lacks, and leaves the rest") {
  const Json schema = json(
      R"({"type":"object","properties":{"name":{"type":"string","default":"John"},
          "age":{"type":"integer","default":30},"note":{"type":"string"},
          "in":{"type":"object","properties":{"x":{"default":1}}}}})");
  CHECK(fill_defaults(schema, json(R"({"age":4})")) == json(R"({"age":4,"name":"John"})"));
  CHECK(fill_defaults(schema, json(R"({"name":null,"in":{}})")) ==
        json(R"({"name":null,"in":{"x":1},"age":30})"));
  CHECK(fill_defaults(schema, json("[1]")) == json("[1]"));
  CHECK(fill_defaults(true, json("{}")) == json("{}"));
}
