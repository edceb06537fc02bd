// Everything of gpumcp::mcp, for programs that include <gpumcp/mcp.h>.
#pragma once

#include "mcp/client.h"
#include "mcp/client_process.h"
#include "mcp/context.h"
#include "mcp/exit_watch.h"
#include "mcp/http_client.h"
#include "mcp/http_server.h"
#include "mcp/json_schema.h"
#include "mcp/protocol.h"
#include "mcp/registry.h"
#include "mcp/server.h"
#include "mcp/typed_tool.h"
#include "mcp/uri_template.h"

namespace gpumcp {
using mcp::arg;
using mcp::Context;
using mcp::Json;
using mcp::ToolError;
}  // namespace gpumcp
