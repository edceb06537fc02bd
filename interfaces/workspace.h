// The folder that a caller works in, and the files that tools may read and write there. A name is
// relative to the folder and stays below it: no "..", and no symbolic link on the way is followed.
// Free functions, thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "gpu_runtime/export.h"
#include "mcp/context.h"

namespace gpumcp::interfaces {

// The front's word in the request, else `setting`, the worker's own. Where there is none:
// ToolError, which says what to do `instead`.
GPUMCP_RUNTIME_API std::string workspace_of(const mcp::Context& context, const std::string& setting,
                                            const std::string& instead);

// ToolError names the file and what to do: it is not there, no plain file, or larger than
// `max_bytes`.
GPUMCP_RUNTIME_API std::string read_workspace_file(const std::filesystem::path& folder,
                                                   const std::string& name,
                                                   std::uint64_t max_bytes);

// Writes the file whole or not at all (mode 0600); folders on the way must be there, but for the
// workspace itself. One that is there is replaced only with `overwrite`. Returns its absolute path.
GPUMCP_RUNTIME_API std::filesystem::path write_workspace_file(const std::filesystem::path& folder,
                                                              const std::string& name,
                                                              std::string_view bytes,
                                                              bool overwrite);

}  // namespace gpumcp::interfaces
