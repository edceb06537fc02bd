#include "sandbox/manifest.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

#include "mcp/spawn.h"
#include "sandbox/files.h"
#include "sandbox/host_library.h"
#include "sandbox/plugin_loader.h"
#include "sandbox/runtime_folder.h"
#include "sandbox/sandbox_config.h"

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::ErrorCode;
using mcp::fail;
namespace {

constexpr int kFormat = 1;

// A Registry that only takes notes.
class Recorder final : public mcp::Registry {
 public:
  void add_tool(mcp::Tool tool, mcp::ToolHandler handler) override {
    if (std::string problem = mcp::check_tool_schemas(tool); !problem.empty())
      throw std::invalid_argument(problem);
    add_typed_tool(std::move(tool), std::move(handler));
  }
  void add_typed_tool(mcp::Tool tool, mcp::ToolHandler) override {
    if (std::string problem = mcp::check_tool(tool); !problem.empty())
      throw std::invalid_argument(problem);
    tools.push_back(std::move(tool));
  }
  void add_resource(mcp::Resource, mcp::ResourceReader) override {}
  void add_resource_template(mcp::ResourceTemplate one, mcp::ResourceReader) override {
    templates.push_back(std::move(one));
  }

  std::vector<mcp::Tool> tools;
  std::vector<mcp::ResourceTemplate> templates;
};

mcp::Result<Manifest> read_manifest(const fs::path& file, const fs::path& library) {
  auto json = mcp::parse_json(read_file(file));
  if (!json)
    return fail(ErrorCode::parse_error, fmt::format("{}: {}", file.string(), json.error().message));
  return Manifest::from_json(*json, library);
}

// `gpumcp manifest LIBRARY --out FILE` in a process of its own: opening the library may load torch.
mcp::Result<void> run_manifest_child(const fs::path& library, const fs::path& out) {
  const std::string from = library.string();
  // What it says, its stdout too, goes to our stderr.
  const auto pid = mcp::spawn({program_path().string(), "manifest", from, "--out", out.string()},
                              {.descriptors = {{mcp::kDevNull, 0}, {2, 1}}});
  if (!pid) return tl::unexpected(pid.error());
  const int status = mcp::reap(*pid);
  if (status != 0)
    return fail(ErrorCode::io_error,
                fmt::format("no manifest could be made of {} (see above)", from));
  return {};
}

fs::path interface_folder() {
  return program_path().parent_path().parent_path() / "lib/gpumcp/interfaces";
}

}  // namespace

std::vector<fs::path> source_files(const std::vector<Manifest>& manifests) {
  std::vector<fs::path> out;
  for (const Manifest& manifest : manifests) {
    out.push_back(manifest.library);
    if (manifest.dependencies.empty())
      out.push_back(fs::path(manifest.library).replace_extension(".json"));
    out.insert(out.end(), manifest.dependencies.begin(), manifest.dependencies.end());
  }
  return out;
}

fs::path program_path() {
  static const fs::path found = [] {
    std::error_code error;
    const fs::path self = fs::read_symlink("/proc/self/exe", error);
    if (const char* named = std::getenv("GPUMCP_PROGRAM"); named && *named == '/')
      return fs::path(named);
    if (self.filename() == "gpumcp") return self;
    auto runs = [](const fs::path& file) { return access(file.c_str(), X_OK) == 0; };
    if (fs::path beside = self.parent_path() / "gpumcp"; runs(beside)) return beside;
    std::string_view path = std::getenv("PATH") ? std::getenv("PATH") : "";
    while (!path.empty()) {
      const std::string_view folder = path.substr(0, path.find(':'));
      path.remove_prefix(std::min(path.size(), folder.size() + 1));
      const fs::path file = fs::path(folder) / "gpumcp";
      if (folder.starts_with('/') && runs(file)) return fs::canonical(file, error);
    }
    return self;
  }();
  return found;
}

fs::path cache_folder() {
  if (const char* cache = std::getenv("GPUMCP_CACHE"); cache && *cache) return fs::absolute(cache);
  const char* home = std::getenv("HOME");
  if (!home || !*home) return RuntimeFolder::base() / "cache";  // private, unlike a name in /tmp
  return fs::path(home) / ".cache/gpumcp";
}

mcp::Json Manifest::to_json() const {
  mcp::Json tool_list = mcp::Json::array(), template_list = mcp::Json::array();
  for (auto& tool : tools) tool_list.push_back(mcp::to_json(tool));
  for (auto& one : templates) template_list.push_back(mcp::to_json(one));
  mcp::Json out = {{"gpumcp_manifest", kFormat},
                   {"name", name},
                   {"build", mcp::plugin_build()},
                   {"tools", std::move(tool_list)},
                   {"resourceTemplates", std::move(template_list)}};
  if (source.is_object()) {
    out["dependencies"] = source.value("dependencies", mcp::Json::array());
    out["python"] = source.value("python", mcp::Json::object());
  }
  return out;
}

mcp::Result<Manifest> Manifest::from_json(const mcp::Json& json, fs::path library) {
  auto broken = [&](const char* what) {
    return fail(ErrorCode::invalid_params,
                fmt::format("the manifest of {} {}", library.string(), what));
  };
  if (!json.is_object() || json.value("gpumcp_manifest", 0) != kFormat)
    return broken("has another format: build it again");
  if (json.value("build", "") != mcp::plugin_build())
    return broken("is of another build: build the interface again");
  Manifest out{.name = json.value("name", ""), .library = std::move(library)};
  for (auto& one : json.value("tools", mcp::Json::array())) {
    auto tool = mcp::tool_from_json(one);
    if (!tool) return tl::unexpected(std::move(tool.error()));
    out.tools.push_back(std::move(*tool));
  }
  for (auto& one : json.value("resourceTemplates", mcp::Json::array()))
    out.templates.push_back({one.value("uriTemplate", ""), one.value("name", ""),
                             one.value("title", ""), one.value("description", ""),
                             one.value("mimeType", "")});
  return out;
}

bool is_built_in(const fs::path& library) { return library.parent_path() == interface_folder(); }

std::vector<std::string> list_interfaces() {
  std::vector<std::string> names;
  std::error_code ignored;
  for (auto& entry : fs::directory_iterator(interface_folder(), ignored)) {
    if (entry.path().extension() == ".so") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

mcp::Result<fs::path> find_interface(const std::string& name) {
  std::error_code ignored;
  if (name.find('/') != name.npos || fs::path(name).has_extension()) {
    const fs::path path = fs::absolute(name, ignored);
    if (fs::is_regular_file(path, ignored)) return fs::canonical(path, ignored);
    return fail(ErrorCode::invalid_params,
                fmt::format("there is no interface at {}", path.string()));
  }
  const fs::path built_in = interface_folder() / (name + ".so");
  if (fs::is_regular_file(built_in, ignored)) return fs::canonical(built_in, ignored);
  return fail(ErrorCode::invalid_params,
              fmt::format("unknown interface \"{}\"; built in: {}; for a file of your own give its "
                          "path, as ./{}.so or ./{}.py",
                          name, fmt::join(list_interfaces(), ", "), name, name));
}

mcp::Result<Manifest> make_manifest(const fs::path& library) {
  if (find_host_library(library)) return make_source_manifest(library);
  auto entry = open_plugin(library);
  if (!entry) return tl::unexpected(std::move(entry.error()));
  Recorder recorder;
  PluginHost host(recorder, mcp::Json::object());
  try {
    (*entry)->load(host);
  } catch (const std::exception& e) {
    return fail(ErrorCode::invalid_params, fmt::format("{}: {}", library.string(), e.what()));
  }
  return Manifest{(*entry)->name, library, std::move(recorder.tools),
                  std::move(recorder.templates)};
}

mcp::Result<Manifest> load_manifest(const fs::path& library) {
  if (find_host_library(library)) return load_source_manifest(library);
  std::error_code error;
  const fs::path beside = fs::path(library).replace_extension(".json");
  const auto library_time = fs::last_write_time(library, error);
  if (fs::is_regular_file(beside, error) && fs::last_write_time(beside, error) >= library_time) {
    if (auto manifest = read_manifest(beside, library)) return manifest;
  }
  const fs::path folder = cache_folder() / "manifests";
  const fs::path cached = folder / fmt::format("{:016x}.json", hash_bytes(read_file(library)));
  if (fs::is_regular_file(cached, error)) {
    if (auto manifest = read_manifest(cached, library)) return manifest;
  }
  fs::create_directories(folder, error);
  const fs::path fresh = folder / fmt::format("new-{}.json", getpid());
  if (auto ok = run_manifest_child(library, fresh); !ok)
    return tl::unexpected(std::move(ok.error()));
  fs::rename(fresh, cached, error);
  return read_manifest(error ? fresh : cached, library);
}

}  // namespace gpumcp::sandbox
