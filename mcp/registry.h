// Registry: where tools and resources are added. A Server is one; so is what lists an interface's
// tools without serving them. Adding is done at start, by one thread; a name or schema that hosts
// refuse throws std::invalid_argument there.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "mcp/context.h"
#include "mcp/protocol.h"
#include "mcp/typed_tool.h"

namespace gpumcp::mcp {

// Answers resources/read. nullopt: no such resource. May throw; that answers an internal error with
// its text.
// A template's variables: match_uri_template() of mcp/uri_template.h.
using ResourceReader = std::function<std::optional<std::vector<ResourceContents>>(
    const std::string& uri, Context& context)>;

class Registry {
 public:
  virtual ~Registry() = default;

  // The raw door: ready JSON Schemas of 2020-12 (mcp/json_schema.h says what is not taken). The
  // handler sees the arguments object as it came, once it conforms; a result's structuredContent
  // must conform to outputSchema, or the call answers isError.
  virtual void add_tool(Tool tool, ToolHandler handler) = 0;
  // What expose() ends in: the handler of make_typed_tool() checks its arguments itself.
  virtual void add_typed_tool(Tool tool, ToolHandler handler) = 0;
  virtual void add_resource(Resource resource, ResourceReader reader) = 0;
  // Serves every URI that the template makes (mcp/uri_template.h).
  virtual void add_resource_template(ResourceTemplate resource, ResourceReader reader) = 0;

  // The typed door; see typed_tool.h.
  template <class F, class... Args>
  void expose(std::string name, std::string description, F function, Args... args) {
    expose(Tool{.name = std::move(name), .description = std::move(description)},
           std::move(function), std::move(args)...);
  }
  // The same with a title and annotations: expose({.name = …, .description = …, .annotations = …},
  // …).
  template <class F, class... Args>
  void expose(Tool tool, F function, Args... args) {
    auto [typed, handler] =
        make_typed_tool(std::move(tool), std::move(function), std::vector<Arg>{Arg(args)...});
    add_typed_tool(std::move(typed), std::move(handler));
  }
};

// What a tool's name should not exceed: hosts put a server's name before it, and models' providers
// refuse more than 64 in all. Interfaces of gpumcp are held to it (interfaces/plain_interface.h).
inline constexpr std::size_t kMaxToolName = 24;

// Why this tool cannot be served, or empty. Names: 1 to 64 of [A-Za-z0-9_-]; the input schema's
// root is an object; a description is there. `for_hosts`: also what the specification allows and
// hosts refuse, anyOf, oneOf and allOf at the schema's root.
std::string check_tool(const Tool& tool, bool for_hosts = true);
// Why one of its schemas does not compile, or empty; for the raw door.
std::string check_tool_schemas(const Tool& tool);

}  // namespace gpumcp::mcp
