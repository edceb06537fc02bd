// What the raw door puts round a tool's handler: arguments are checked against the tool's
// inputSchema before it runs, and structuredContent against its outputSchema after. Typed tools
// check while they decode, and forwarded ones are checked where they run, so neither comes here.
// Thread-safe, as the handler is. Private to mcp.
#pragma once

#include "mcp/protocol.h"
#include "mcp/typed_tool.h"

namespace gpumcp::mcp {

// Throws std::invalid_argument where one of the tool's schemas does not compile.
ToolHandler check_calls(const Tool& tool, ToolHandler handler);

}  // namespace gpumcp::mcp
