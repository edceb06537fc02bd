#include "mcp/typed_tool.h"

namespace gpumcp::mcp::detail {

Json parameter_schema(Json schema, const Arg& arg) {
  if (!arg.description().empty()) schema["description"] = arg.description();
  for (auto& [keyword, value] : arg.keywords().items()) schema[keyword] = value;
  if (arg.default_json()) schema["default"] = Json::parse(*arg.default_json());
  return schema;
}

const Json* find_argument(const Json& arguments, const Arg& arg, bool optional, const Json& schema,
                          const JsonPath& path, Json& storage) {
  if (auto it = arguments.find(arg.name()); it != arguments.end()) {
    if (it->is_null() && optional) return nullptr;
    check_bounds(schema, *it, path);
    return &*it;
  }
  if (arg.default_json()) {
    storage = Json::parse(*arg.default_json());
    return &storage;
  }
  if (optional) return nullptr;
  throw DecodeError(path, "is missing");
}

CallToolResult object_result(std::string json) {
  CallToolResult out = CallToolResult::text(json);
  out.structuredContent = std::move(json);
  return out;
}

}  // namespace gpumcp::mcp::detail
