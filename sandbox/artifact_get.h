// GET /artifacts/ID over HTTP: the bytes that resources/read gives as a blob, for programs that
// want a file. The worker is asked as for any resource, and started if none lives, since what it
// kept may lie on its disk.
#pragma once

#include "mcp/http_server.h"
#include "sandbox/front.h"

namespace gpumcp::sandbox {

// For HttpOptions::get; the front must outlive the HTTP server. A query behind the id is the
// artifact URI's own (?format=safetensors&slice=0:10). 404 for what is not there or not this
// caller's, 502 with the reason when the worker fails.
mcp::HttpOptions::Get artifact_get(Front& front);

}  // namespace gpumcp::sandbox
