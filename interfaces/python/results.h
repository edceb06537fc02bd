// A Python function's outcome as a tool's result: blobs become artifacts or files, and their URIs
// or paths go where the JSON names them.
#pragma once

#include <string>

#include "gpu_runtime/artifacts.h"
#include "interfaces/python/child.h"
#include "mcp/protocol.h"

namespace gpumcp::python {

// `output`: "file" writes into `workspace`, else blobs go to the store. Throws ToolError.
mcp::CallToolResult to_result(Outcome outcome, const std::string& output,
                              const std::string& workspace, gpu_runtime::ArtifactStore& artifacts);

}  // namespace gpumcp::python
