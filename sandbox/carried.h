// What a worker elsewhere is told on its stdin before the protocol begins: one line of JSON with
// the configuration, the values of secrets, and the interfaces' source files. No command line shows
// any of it. Files that lie at the same place there with the same bytes are used where they are (a
// shared file system; data files beside them are found then); others are written to its cache.
#pragma once

#include <string>
#include <vector>

#include "sandbox/manifest.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

// Without the newline. Reads secrets from this environment. `callback`: where the worker may
// connect to instead of its stdin and stdout (callback.h); null: nowhere.
std::string pack_config(const SandboxConfig& config, const std::vector<Manifest>& manifests,
                        mcp::Json callback = nullptr);
// Sets the secrets in this environment, writes what must be written. Throws std::invalid_argument,
// std::runtime_error.
SandboxConfig unpack_config(std::string_view line);

}  // namespace gpumcp::sandbox
