#include "sandbox/host_library.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "mcp/plugin.h"
#include "sandbox/files.h"
#include "sandbox/subprocess.h"

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::ErrorCode;
using mcp::fail;
namespace {

fs::path data_folder() { return program_path().parent_path().parent_path() / "lib/gpumcp"; }
fs::path scripts_folder() { return data_folder() / "python"; }

std::string hash_of(const fs::path& path) {
  return fmt::format("{:016x}", hash_bytes(read_file(path)));
}

// What reads the source is part of what its manifest depends on.
uint64_t reader_hash() {
  uint64_t hash = hash_bytes(GPUMCP_VERSION);
  for (const char* file : {"docstrings.py", "manifest.py", "schema.py", "source.py"})
    hash = hash_bytes(read_file(scripts_folder() / "gpumcp_host" / file), hash);
  return hash;
}

mcp::Result<mcp::Json> read_source(const fs::path& source) {
  const char* python = std::getenv("GPUMCP_PYTHON");
  auto done =
      run_captured({python && *python ? python : "python3", "-I", "-S",
                    (scripts_folder() / "run_host.py").string(), "manifest", source.string()});
  if (!done)
    return fail(ErrorCode::io_error,
                fmt::format("{}: reading a Python interface needs python3, 3.9 or newer, on PATH "
                            "(or GPUMCP_PYTHON): {}",
                            source.string(), done.error().message));
  if (done->code != 0) {
    while (!done->err.empty() && done->err.back() == '\n') done->err.pop_back();
    return fail(ErrorCode::invalid_params,
                fmt::format("{} cannot be served: {}", source.string(), done->err));
  }
  auto json = mcp::parse_json(done->out);
  if (!json)
    return fail(ErrorCode::parse_error, fmt::format("the manifest of {} is broken: {}",
                                                    source.string(), json.error().message));
  return json;
}

mcp::Result<Manifest> from_source_json(mcp::Json json, const fs::path& source) {
  json["build"] = mcp::plugin_build();
  auto manifest = Manifest::from_json(json, source);
  if (!manifest) return manifest;
  for (auto& path : json.value("dependencies", mcp::Json::array()))
    manifest->dependencies.emplace_back(path.get<std::string>());
  // What Interface registers in a worker, and the Python host too
  // (interfaces/shared_artifacts.cpp).
  manifest->templates.push_back({.uriTemplate = "gpumcp://artifacts/{id}",
                                 .name = "artifact",
                                 .title = "Artifact",
                                 .description =
                                     "A value that a tool's result points to. Kept for a "
                                     "while after its last use.",
                                 .mimeType = "application/octet-stream"});
  for (auto& tool : manifest->tools) {
    std::string problem = mcp::check_tool(tool);
    if (problem.empty()) problem = mcp::check_tool_schemas(tool);
    if (!problem.empty())
      return fail(ErrorCode::invalid_params,
                  fmt::format("{} cannot be served: {}", source.string(), problem));
  }
  manifest->source = std::move(json);
  return manifest;
}

}  // namespace

std::optional<fs::path> find_host_library(const fs::path& interface) {
  const std::string suffix = interface.extension().string();
  if (suffix.size() < 2 || suffix == ".so") return std::nullopt;
  const fs::path library = data_folder() / "hosts" / (suffix.substr(1) + ".so");
  std::error_code ignored;
  return fs::is_regular_file(library, ignored) ? std::optional(library) : std::nullopt;
}

mcp::Result<Manifest> make_source_manifest(const fs::path& source) {
  auto json = read_source(source);
  if (!json) return tl::unexpected(std::move(json.error()));
  return from_source_json(std::move(*json), source);
}

mcp::Result<Manifest> load_source_manifest(const fs::path& source) {
  const fs::path folder = cache_folder() / "manifests";
  uint64_t key = hash_bytes(source.string(), reader_hash());
  key = hash_bytes(read_file(source), key);
  const fs::path cached = folder / fmt::format("source-{:016x}.json", key);
  std::error_code error;
  if (fs::is_regular_file(cached, error)) {
    // {"manifest": …, "dependencies": {PATH: HASH}}: files beside the interface, which may have
    // changed since.
    auto json = mcp::parse_json(read_file(cached));
    bool fresh = json && json->is_object() && json->contains("manifest");
    if (fresh) {
      for (auto& [path, hash] : (*json)["dependencies"].items())
        fresh = fresh && hash == hash_of(path);
    }
    if (fresh) {
      if (auto manifest = from_source_json((*json)["manifest"], source)) return manifest;
    }
  }
  auto json = read_source(source);
  if (!json) return tl::unexpected(std::move(json.error()));
  mcp::Json hashes = mcp::Json::object();
  for (auto& path : json->value("dependencies", mcp::Json::array()))
    hashes[path.get<std::string>()] = hash_of(path.get<std::string>());
  auto manifest = from_source_json(*json, source);
  if (!manifest) return manifest;
  fs::create_directories(folder, error);
  const fs::path fresh = folder / fmt::format("new-{}-{:016x}.json", getpid(), key);
  {
    std::ofstream file(fresh, std::ios::trunc);
    file << mcp::to_text({{"manifest", std::move(*json)}, {"dependencies", std::move(hashes)}});
  }
  fs::rename(fresh, cached, error);
  if (error) fs::remove(fresh, error);  // a full or read-only disk: it is made anew next time
  return manifest;
}

mcp::Json host_options(const Manifest& manifest, const SandboxConfig& config,
                       const std::vector<std::string>& wrap) {
  return {{"source", manifest.library.string()},
          {"manifest", manifest.source},
          {"scripts", scripts_folder().string()},
          {"environments", (cache_folder() / "environments").string()},
          {"wrap", wrap},
          {"python",
           {{"packages", config.python_packages},
            {"version", config.python_version},
            {"env", config.env},
            {"secrets", config.secrets}}}};
}

}  // namespace gpumcp::sandbox
