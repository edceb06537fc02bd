#include "sandbox/workspace.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>

#include "sandbox/expose.h"
#include "sandbox/files.h"
#include "sandbox/python_stubs.h"

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::ErrorCode;
using mcp::fail;
using mcp::Json;
namespace {

constexpr std::string_view kMark =
    "<!-- Made by gpumcp; it is made anew with the next session. -->";

mcp::Result<void> write_text(const fs::path& path, const std::string& text, LocalSession& session) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return fail(ErrorCode::io_error, fmt::format("cannot write {}", path.string()));
  session.written.push_back(path);
  return {};
}

mcp::Result<void> copy_into(const fs::path& from, const fs::path& to, LocalSession& session) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  if (fs::equivalent(from, to, error)) return {};  // the user works in the library's own folder
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
  if (error)
    return fail(ErrorCode::io_error, fmt::format("cannot copy {} to {}: {}", from.string(),
                                                 to.string(), error.message()));
  session.written.push_back(to);
  return {};
}

// Without caches, and without what links lead to.
mcp::Result<void> copy_folder(const fs::path& from, const fs::path& to, LocalSession& session) {
  std::error_code error;
  fs::create_directories(to, error);
  if (fs::equivalent(from, to, error)) return {};
  for (auto entry = fs::recursive_directory_iterator(from, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (entry->is_directory(error) && (name == "__pycache__" || name.starts_with('.'))) {
      entry.disable_recursion_pending();
      continue;
    }
    if (entry->is_symlink(error) || !entry->is_regular_file(error)) continue;
    if (auto ok = copy_into(entry->path(), to / fs::relative(entry->path(), from), session); !ok)
      return ok;
  }
  if (error)
    return fail(ErrorCode::io_error,
                fmt::format("cannot read {}: {}", from.string(), error.message()));
  return {};
}

std::string trimmed(std::string_view text) {
  const size_t from = text.find_first_not_of(" \t\r\n");
  if (from == text.npos) return {};
  return std::string(text.substr(from, text.find_last_not_of(" \t\r\n") - from + 1));
}

// The first line of the docstring that begins at this line, if one does.
std::string first_doc_line(std::string_view line) {
  std::string text = trimmed(line);
  for (const char* quotes : {"\"\"\"", "'''", "\"", "'"}) {
    if (!text.starts_with(quotes)) continue;
    text.erase(0, std::strlen(quotes));
    return trimmed(text.substr(0, text.find(quotes)));
  }
  return {};
}

// Signatures and first doc lines of a module's public functions, by their text alone.
std::string functions_of(const fs::path& file, const std::string& module) {
  std::vector<std::string> lines;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    std::string_view line = lines[i];
    if (line.starts_with("async ")) line.remove_prefix(6);
    if (!line.starts_with("def ") || line.starts_with("def _")) continue;
    std::string signature(line.substr(4));
    while (!trimmed(signature).ends_with(':') && i + 1 < lines.size() && signature.size() < 2000)
      signature.append(" ").append(trimmed(lines[++i]));
    signature = trimmed(signature);
    if (signature.ends_with(':')) signature.pop_back();
    const std::string doc = i + 1 < lines.size() ? first_doc_line(lines[i + 1]) : "";
    out += fmt::format("- `{}.{}`{}{}\n", module, signature, doc.empty() ? "" : ": ", doc);
  }
  return out;
}

std::string module_docs(const std::string& name, const fs::path& file, std::string_view where) {
  std::ifstream in(file);
  std::string first;
  while (std::getline(in, first) && (trimmed(first).empty() || first.starts_with('#'))) {
  }
  const std::string about = first_doc_line(first);
  return fmt::format("### `{}` ({})\n\n{}{}{}", name, where, about, about.empty() ? "" : "\n\n",
                     functions_of(file, name));
}

}  // namespace

mcp::Result<Library> Library::from_file(const fs::path& file) {
  std::error_code error;
  const fs::path path = fs::absolute(file).lexically_normal();
  if (!fs::is_regular_file(path, error))
    return fail(ErrorCode::invalid_params, fmt::format("there is no file {}", path.string()));
  Library out{.name = path.stem().string(), .kind = Kind::file, .path = path};
  if (path.extension() != ".py" || python_name(out.name) != out.name)
    return fail(ErrorCode::invalid_params,
                fmt::format("{} is no Python module: it must end in .py and be named by letters, "
                            "digits and _",
                            path.string()));
  return out;
}

mcp::Result<Library> Library::from_directory(const fs::path& directory) {
  std::error_code error;
  fs::path path = fs::absolute(directory).lexically_normal();
  if (path.filename().empty()) path = path.parent_path();
  if (!fs::is_directory(path, error))
    return fail(ErrorCode::invalid_params, fmt::format("there is no folder {}", path.string()));
  Library out{.name = path.filename().string(), .kind = Kind::directory, .path = path};
  if (fs::exists(path / "SKILL.md", error))
    out.expose_as = "skill";
  else if (python_name(out.name) != out.name)
    return fail(ErrorCode::invalid_params,
                fmt::format("{} is no Python package: packages are named by letters, digits and _",
                            path.string()));
  return out;
}

mcp::Result<Library> Library::served(std::string name, Manifest manifest,
                                     std::vector<std::string> serve_command,
                                     std::string expose_as) {
  if (expose_as != "library" && expose_as != "mcp" && expose_as != "prompt" && expose_as != "skill")
    return fail(ErrorCode::invalid_params,
                fmt::format("expose_as {}: expected library, mcp, prompt or skill", expose_as));
  return Library{.name = std::move(name),
                 .kind = Kind::served,
                 .expose_as = std::move(expose_as),
                 .manifest = std::move(manifest),
                 .serve_command = std::move(serve_command)};
}

std::string Library::docs() const {
  if (kind == Kind::file) return module_docs(name, path, "a Python module, runs here");
  if (kind == Kind::directory) {
    if (expose_as == "skill") return fmt::format("### `{}` (a skill)\n\nSee its SKILL.md.\n", name);
    std::string out = fmt::format("### `{}` (a Python package, runs here)\n\n", name);
    std::error_code ignored;
    std::vector<fs::path> modules;
    for (const auto& entry : fs::directory_iterator(path, ignored)) {
      if (entry.path().extension() == ".py") modules.push_back(entry.path());
    }
    std::sort(modules.begin(), modules.end());
    for (const fs::path& module : modules)
      out += functions_of(module, module.stem() == "__init__"
                                      ? name
                                      : fmt::format("{}.{}", name, module.stem().string()));
    return out;
  }
  if (expose_as == "skill")
    return fmt::format("### `{}` (a skill, runs on the GPU)\n\nSee its SKILL.md.\n", name);
  if (expose_as == "mcp") {
    std::string out = fmt::format("### `{}` (MCP tools, run on the GPU)\n\n", name);
    for (const mcp::Tool& tool : manifest.tools)
      out += fmt::format("- `{}`: {}\n", tool.name,
                         tool.description.substr(0, tool.description.find('\n')));
    return out;
  }
  std::string out = fmt::format(
      "### `{0}` (a Python module, runs on the GPU)\n\n`import {0}`; a failure raises "
      "`{0}.ToolError`; `{0}.batch(function, items)` runs many calls together.\n\n",
      name);
  for (const mcp::Tool& tool : manifest.tools) {
    const Stub stub = make_stub(tool);
    out += fmt::format("- `{}.{}{}`: {}\n", name, stub.name, stub.signature(),
                       stub.doc.substr(0, stub.doc.find('\n')));
    for (const std::string& definition : stub.definitions)
      out += fmt::format("\n```python\n{}```\n", definition);
  }
  return out;
}

std::string Workspace::docs() const {
  std::string out;
  if (!instructions.empty()) out += instructions + "\n\n";
  if (libraries.empty()) return out;
  out += "## Libraries\n\n";
  for (const Library& library : libraries) out += library.docs() + "\n";
  return out;
}

namespace {

mcp::Result<void> lay_out_served(const Library& library, LocalSession& session) {
  const auto& serve = library.serve_command;
  if (serve.size() < 2)
    return fail(ErrorCode::invalid_params,
                fmt::format("library {}: nothing says how it is served", library.name));
  if (library.expose_as == "mcp") {
    std::string name = library.name;
    std::replace(name.begin(), name.end(), '_', '-');  // some hosts take no _ in a server's name
    session.mcp_config["mcpServers"][name] = {
        {"command", serve.front()}, {"args", std::vector(serve.begin() + 1, serve.end())}};
    return {};
  }
  const bool skill = library.expose_as == "skill";
  const fs::path out = skill ? session.folder / ".claude/skills" : session.folder;
  ExposeOptions options{.name = library.name, .out = out, .serve_command = serve};
  // Behind PROGRAM serve stand the words that name the interface and its sandbox.
  options.expose_command = {serve.front(), "expose",     "--as",  skill ? "skill" : "library",
                            "--name",      library.name, "--out", out.string()};
  options.expose_command.insert(options.expose_command.end(), serve.begin() + 2, serve.end());
  auto written =
      skill ? expose_skill(library.manifest, options) : expose_library(library.manifest, options);
  if (!written) return tl::unexpected(std::move(written.error()));
  session.written.insert(session.written.end(), written->begin(), written->end());
  return {};
}

// Not over a file of the user's own.
mcp::Result<void> write_marked(const fs::path& path, const std::string& text,
                               LocalSession& session) {
  std::error_code error;
  if (fs::exists(path, error) && read_file(path).find(kMark) == std::string::npos) return {};
  return write_text(path, fmt::format("{}\n{}\n", text, kMark), session);
}

// Servers of earlier sessions and of the user's own stay.
mcp::Result<void> write_mcp_json(LocalSession& session) {
  if (session.mcp_config["mcpServers"].empty()) return {};
  const fs::path path = session.folder / ".mcp.json";
  Json all = session.mcp_config;
  if (const std::string text = read_file(path); !text.empty()) {
    auto before = mcp::parse_json(text);
    if (!before || !before->is_object() || !before->value("mcpServers", Json::object()).is_object())
      return fail(ErrorCode::invalid_params,
                  fmt::format("{} is no MCP configuration; move it away", path.string()));
    all = *before;
    if (!all.contains("mcpServers")) all["mcpServers"] = Json::object();
    all["mcpServers"].update(session.mcp_config["mcpServers"]);
  }
  return write_text(path, all.dump(2) + "\n", session);
}

}  // namespace

mcp::Result<LocalSession> create_local_session(const Workspace& workspace,
                                               const fs::path& workspace_dir,
                                               const std::string& name) {
  LocalSession session{.name = name,
                       .folder = fs::absolute(workspace_dir).lexically_normal(),
                       .mcp_config = {{"mcpServers", Json::object()}}};
  std::error_code error;
  fs::create_directories(session.folder, error);
  if (!fs::is_directory(session.folder, error))
    return fail(ErrorCode::io_error,
                fmt::format("{} cannot be made: {}", session.folder.string(), error.message()));
  for (const Library& library : workspace.libraries) {
    mcp::Result<void> ok;
    if (library.kind == Library::Kind::file)
      ok = copy_into(library.path, session.folder / library.path.filename(), session);
    else if (library.kind == Library::Kind::directory)
      ok = copy_folder(library.path,
                       library.expose_as == "skill"
                           ? session.folder / ".claude/skills" / library.name
                           : session.folder / library.name,
                       session);
    else
      ok = lay_out_served(library, session);
    if (!ok) return tl::unexpected(std::move(ok.error()));
    session.needs_shell = session.needs_shell || library.expose_as != "mcp";
  }
  for (const fs::path& file : workspace.files) {
    auto ok = fs::is_directory(file, error)
                  ? copy_folder(file, session.folder / fs::absolute(file).filename(), session)
                  : copy_into(file, session.folder / file.filename(), session);
    if (!ok) return tl::unexpected(std::move(ok.error()));
  }
  session.docs = workspace.docs();
  if (auto ok = write_mcp_json(session); !ok) return tl::unexpected(std::move(ok.error()));
  if (!session.docs.empty()) {
    auto ok = write_marked(session.folder / "AGENTS.md",
                           fmt::format("# {}\n\n{}", name, session.docs), session);
    if (ok) ok = write_marked(session.folder / "CLAUDE.md", "@AGENTS.md\n", session);
    if (!ok) return tl::unexpected(std::move(ok.error()));
  }
  return session;
}

}  // namespace gpumcp::sandbox
