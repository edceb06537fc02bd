// Manifest: an interface's tools as JSON, made at build time or by a process of its own that opens
// the library, so that a front lists tools in milliseconds and never loads torch. Beside X.so lies
// X.json; where it is missing or older, one is made and kept in the cache under the library's
// content hash.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "mcp/protocol.h"

namespace gpumcp::sandbox {

struct Manifest {
  std::string name;
  std::filesystem::path library;  // absolute; or the source file (host_library.h)
  std::vector<mcp::Tool> tools;
  std::vector<mcp::ResourceTemplate> templates;
  // Of a source file: all files that it was read from, and what was read.
  std::vector<std::filesystem::path> dependencies = {};
  mcp::Json source = nullptr;

  mcp::Json to_json() const;
  static mcp::Result<Manifest> from_json(const mcp::Json& json, std::filesystem::path library);
};

// A built-in interface's name, or a path to a shared library or a source file -> that file. Errors
// name what was looked for.
mcp::Result<std::filesystem::path> find_interface(const std::string& name_or_path);
// Whether it is one of those that are installed beside the program.
bool is_built_in(const std::filesystem::path& library);
// The names of the interfaces that are installed beside the program.
std::vector<std::string> list_interfaces();

// Opens the library in this process and records what it registers; of a source file, reads that.
mcp::Result<Manifest> make_manifest(const std::filesystem::path& library);
// The manifest file beside the library, the cached one, or a new one made by `gpumcp manifest` as a
// child.
mcp::Result<Manifest> load_manifest(const std::filesystem::path& library);

// All files that these are read from: of a source file what it imports too, of a library also the
// file beside it.
std::vector<std::filesystem::path> source_files(const std::vector<Manifest>& manifests);

// The gpumcp program: this one; in another program that uses this library, $GPUMCP_PROGRAM, or the
// gpumcp beside that program, or on PATH.
std::filesystem::path program_path();
// ${GPUMCP_CACHE:-~/.cache/gpumcp}
std::filesystem::path cache_folder();

}  // namespace gpumcp::sandbox
