#include "mcp/checked_tool.h"

#include <fmt/format.h>

#include <stdexcept>

#include "mcp/json_schema.h"
#include "mcp/registry.h"

namespace gpumcp::mcp {
namespace {

Result<JsonSchema> compile(const Tool& tool, const char* member, const Json& schema) {
  auto compiled = JsonSchema::compile(schema);
  if (compiled) return compiled;
  return fail(ErrorCode::invalid_params,
              fmt::format("tool \"{}\", {}: {}", tool.name, member, compiled.error().message));
}

// A result that is no error keeps what outputSchema promises.
void check_result(const JsonSchema& schema, const CallToolResult& result) {
  if (result.isError) return;
  if (result.structuredContent.empty())
    throw std::runtime_error("its result lacks structuredContent, which its outputSchema promises");
  const auto content = parse_json(result.structuredContent);
  const auto fits = content ? schema.validate(*content, "structuredContent")
                            : Result<void>(tl::unexpected(content.error()));
  if (!fits)
    throw std::runtime_error("its result is not what its outputSchema promises: " +
                             fits.error().message);
}

}  // namespace

std::string check_tool_schemas(const Tool& tool) {
  auto input = compile(tool, "inputSchema", tool.inputSchema);
  if (!input) return input.error().message;
  if (tool.outputSchema.is_null()) return {};
  auto output = compile(tool, "outputSchema", tool.outputSchema);
  return output ? std::string() : output.error().message;
}

ToolHandler check_calls(const Tool& tool, ToolHandler handler) {
  auto compiled = [&](const char* member, const Json& schema) {
    auto out = compile(tool, member, schema);
    if (!out) throw std::invalid_argument(out.error().message);
    return std::move(*out);
  };
  std::optional<JsonSchema> output;
  if (!tool.outputSchema.is_null()) output = compiled("outputSchema", tool.outputSchema);
  return [input = compiled("inputSchema", tool.inputSchema), output = std::move(output),
          handler = std::move(handler)](const Json& arguments, Context& context) {
    if (auto fits = input.validate(arguments); !fits) throw ToolError(fits.error().message);
    CallToolResult result = handler(arguments, context);
    if (output) check_result(*output, result);
    return result;
  };
}

}  // namespace gpumcp::mcp
