#include "mcp/json_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "mcp/schema/compiler.h"
#include "mcp/schema/evaluator.h"
#include "mcp/schema/program.h"
#include "mcp/schema/value.h"

namespace gpumcp::mcp {

Result<JsonSchema> JsonSchema::compile(const Json& schema, const JsonSchemaOptions& options) {
  try {
    auto program = std::make_shared<schema::Program>();
    schema::Compiler(options, *program).run(schema);
    return JsonSchema(std::move(program), options);
  } catch (const std::exception& error) {
    return fail(ErrorCode::invalid_params, error.what());
  }
}

bool JsonSchema::accepts(const Json& value) const {
  return !schema::nested_deeper_than(value, max_depth_) &&
         schema::Evaluator(*program_, max_steps_).run(value, {});
}

std::vector<SchemaIssue> JsonSchema::issues(const Json& value, std::string_view root) const {
  std::vector<SchemaIssue> out;
  auto bound_met = [&](const std::string& what) {
    out.push_back({.path = std::string(root), .message = fmt::format("{} {}", root, what)});
  };
  if (schema::nested_deeper_than(value, max_depth_)) {
    bound_met(fmt::format("is nested deeper than {} levels", max_depth_));
    return out;
  }
  if (schema::Evaluator(*program_, max_steps_).run(value, root)) return out;
  schema::Evaluator evaluator(*program_, max_steps_, &out, std::max<std::size_t>(max_issues_, 1));
  evaluator.run(value, root);
  if (!evaluator.stopped().empty() || out.empty())
    bound_met(
        fmt::format("{}: send a smaller value, or simplify the schema",
                    evaluator.stopped().empty() ? "could not be checked" : evaluator.stopped()));
  return out;
}

Result<void> JsonSchema::validate(const Json& value, std::string_view root) const {
  const std::vector<SchemaIssue> found = issues(value, root);
  if (found.empty()) return {};
  std::string message;
  for (const SchemaIssue& issue : found) {
    if (!message.empty()) message += '\n';
    message += issue.message;
  }
  return fail(ErrorCode::invalid_params, std::move(message));
}

Json fill_defaults(const Json& schema, Json value) {
  if (!schema.is_object() || !value.is_object()) return value;
  const auto properties = schema.find("properties");
  if (properties == schema.end() || !properties->is_object()) return value;
  for (auto property = properties->begin(); property != properties->end(); ++property) {
    if (!property->is_object()) continue;
    if (auto member = value.find(property.key()); member != value.end())
      *member = fill_defaults(*property, std::move(*member));
    else if (auto fallback = property->find("default"); fallback != property->end())
      value[property.key()] = *fallback;
  }
  return value;
}

}  // namespace gpumcp::mcp
