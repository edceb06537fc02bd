// JSON Schema 2020-12: a schema is compiled once, then checks any number of values; what raw-door
// tools check arguments and results with, and clients the answers to elicitation. A JsonSchema is
// an immutable value, shared when copied; all of its functions are thread-safe.
//
// Schemas and values may come from anyone, so everything is bounded: nesting, subschemas, the size
// of patterns, and the steps that one validation takes. Nothing is fetched: "$ref" names the schema
// itself, the meta-schema of 2020-12 (built in), or a document given in the options; any other is
// an error of compile(). Patterns run in linear time (RE2), so look-around and back-references are
// errors too. References that lead round in a circle without going into the value are refused.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "mcp/json.h"
#include "mcp/result.h"

namespace gpumcp::mcp {

namespace schema {
struct Program;
}

inline constexpr std::string_view kJsonSchemaDialect =
    "https://json-schema.org/draft/2020-12/schema";

struct JsonSchemaOptions {
  // "format" is an annotation unless this is set; then email, uri, uri-reference, date, time,
  // date-time, ipv4, ipv6, uuid, json-pointer and regex are checked, and others still are not.
  bool assert_formats = false;
  // What "$ref" and "$schema" may name beside the schema itself: absolute URI to schema.
  std::map<std::string, Json> documents = {};
  int max_depth = kMaxJsonDepth;        // of the schema's JSON, and of a value's
  std::size_t max_subschemas = 10'000;  // documents that are referred to count too
  std::size_t max_steps = 10'000'000;   // of one validation: about a second
  std::size_t max_issues = 8;           // that one validation tells
};

// One reason why a value does not conform.
struct SchemaIssue {
  std::string path;         // in the value: `arguments.texts[3]`
  std::string keyword;      // "minLength"; empty when a bound of the options was met
  std::string schema_path;  // where the schema says so: "#/properties/texts/items/minLength"
  std::string message;      // one line: the path, what was expected, what came
};

class JsonSchema {
 public:
  // Error invalid_params: where in the schema, what is wrong, and what to write instead.
  static Result<JsonSchema> compile(const Json& schema, const JsonSchemaOptions& options = {});

  bool accepts(const Json& value) const;

  // Empty if the value conforms. `root` is what the messages call the value.
  std::vector<SchemaIssue> issues(const Json& value, std::string_view root = "arguments") const;

  // Error invalid_params: the issues' messages, a line each.
  Result<void> validate(const Json& value, std::string_view root = "arguments") const;

 private:
  JsonSchema(std::shared_ptr<const schema::Program> program, const JsonSchemaOptions& options)
      : program_(std::move(program)),
        max_depth_(options.max_depth),
        max_steps_(options.max_steps),
        max_issues_(options.max_issues) {}

  std::shared_ptr<const schema::Program> program_;
  int max_depth_;
  std::size_t max_steps_, max_issues_;
};

// `value` with the defaults of those members of an object schema's "properties" that it lacks; in
// nested objects that are there, too. Anything else is left as it is. For elicitation's answers.
Json fill_defaults(const Json& schema, Json value);

}  // namespace gpumcp::mcp
