// Interfaces that are no shared libraries: a source file of another language is run by the host
// library of its suffix, lib/gpumcp/hosts/SUFFIX.so, a plugin (mcp/plugin.h) that is told the file
// in its settings. Which languages there are is so a matter of what is installed; Python is
// (interfaces/python). Its manifest is read from the source by a program of its own, and kept in
// the cache under the content of every file that it depends on. Free functions, thread-safe.
#pragma once

#include <filesystem>
#include <optional>

#include "sandbox/manifest.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {

// The host library for such a file; nullopt: it is (or must be) a shared library itself.
std::optional<std::filesystem::path> find_host_library(const std::filesystem::path& interface);

// From the cache, or from the source. An error names the file and the line that cannot be served.
mcp::Result<Manifest> load_source_manifest(const std::filesystem::path& source);
mcp::Result<Manifest> make_source_manifest(const std::filesystem::path& source);

// What the host library is told besides the worker's own settings.
// `wrap`: words before the command that it starts (isolation.h).
mcp::Json host_options(const Manifest& manifest, const SandboxConfig& config,
                       const std::vector<std::string>& wrap);

}  // namespace gpumcp::sandbox
