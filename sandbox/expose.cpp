#include "sandbox/expose.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "sandbox/files.h"
#include "sandbox/host_config.h"
#include "sandbox/python_stubs.h"

namespace gpumcp::sandbox {
namespace fs = std::filesystem;
using mcp::ErrorCode;
using mcp::fail;
using mcp::Json;
namespace {

constexpr const char* kMadeBy = "Made by `gpumcp expose`; changes are lost when it is made again.";

fs::path template_file(const char* name) {
  return program_path().parent_path().parent_path() / "lib/gpumcp/templates" / name;
}

// Whole or not at all: an agent may import the module while it is made again.
mcp::Result<void> write_file(const fs::path& path, const std::string& text, Written& written) {
  std::error_code error;
  fs::create_directories(path.parent_path(), error);
  const fs::path fresh = path.string() + ".new";
  {
    std::ofstream file(fresh, std::ios::binary | std::ios::trunc);
    file << text;
    file.close();
    if (!file) return fail(ErrorCode::io_error, fmt::format("cannot write {}", path.string()));
  }
  fs::rename(fresh, path, error);
  if (error)
    return fail(ErrorCode::io_error,
                fmt::format("cannot write {}: {}", path.string(), error.message()));
  written.push_back(path);
  return {};
}

std::vector<Stub> stubs_of(const Manifest& manifest) {
  std::vector<Stub> out;
  for (auto& tool : manifest.tools) out.push_back(make_stub(tool));
  return out;
}

// Lines behind the first, indented.
std::string indented(std::string_view text, std::string_view by) {
  std::string out;
  for (const char c : text) {
    out += c;
    if (c == '\n') out += by;
  }
  return out;
}

std::string docstring(const std::string& text) {
  std::string safe;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' || text.compare(i, 3, "\"\"\"") == 0) safe += '\\';
    safe += text[i];
  }
  const bool lines = safe.find('\n') != safe.npos;
  if (!lines && safe.ends_with('"')) safe += ' ';
  return fmt::format("\"\"\"{}{}\"\"\"", indented(safe, "    "), lines ? "\n    " : "");
}

std::string description_of(const Manifest& manifest) {
  const std::string said =
      manifest.source.is_object() ? manifest.source.value("description", "") : "";
  return said.empty() ? fmt::format("Functions of {} that run on a GPU worker.", manifest.name)
                      : said;
}

// The functions' module, _tools.py. Classes that two tools share by name and text are written once.
std::string tools_module(const Manifest& manifest, const std::vector<Stub>& stubs) {
  std::string out = fmt::format(
      "{}\n\nfrom __future__ import annotations\n\nfrom pathlib import Path as _Path\n"
      "from typing import Any, Callable, Dict, Iterable, List, Literal, Optional, Tuple, "
      "TypedDict, Union\n\n"
      "from ._client import Client as _Client\n"
      "from ._client import GpumcpError, Timeout, ToolError, Unavailable\n"
      "from ._client import batch_over as _batch_over\n"
      "from ._client import function as _function\n\n"
      "_client = _Client(_Path(__file__).parent)\n",
      docstring(description_of(manifest) + "\n\n" + kMadeBy));
  std::set<std::string> written;
  for (const Stub& stub : stubs) {
    for (auto& definition : stub.definitions) {
      if (written.insert(definition).second) out += "\n" + definition;
    }
  }
  std::string names;
  for (const Stub& stub : stubs) {
    std::string fixed, optional, renamed;
    if (stub.asks_inline) fixed = R"("output": "inline")";
    for (auto& parameter : stub.parameters) {
      if (parameter.drops_none)
        optional += (optional.empty() ? "" : ", ") + python_string(parameter.original);
      if (parameter.name != parameter.original)
        renamed += fmt::format("{}{}: {}", renamed.empty() ? "" : ", ",
                               python_string(parameter.name), python_string(parameter.original));
    }
    out += fmt::format(
        "\n\n@_function(_client, {}, {}, {{{}}}, {}, {{{}}})\ndef {}{}:\n    {}\n    ...\n",
        python_string(stub.tool), stub.unwraps ? "True" : "False", fixed,
        optional.empty() ? "set()" : "{" + optional + "}", renamed, stub.name, stub.signature(),
        docstring(stub.doc));
    names += fmt::format("    {},\n", python_string(stub.name));
  }
  out += R"(

def batch(function: Callable[..., Any], items: Iterable[Any], max_in_flight: int = 64,
          return_exceptions: bool = False) -> List[Any]:
    """Calls a function of this module for each item, many at once, so that they share batches on the GPU.

    An item is the first argument, a tuple of arguments, or a dict of named ones. Results come in the items' order; the
    first failure is raised, or stands in its place with return_exceptions=True.
    """
    return _batch_over(_client, function, items, max_in_flight, return_exceptions)


def configure(timeout: Optional[float] = None) -> None:
    """Sets how many seconds a call may take; None: as long as it does."""
    _client.timeout = timeout


def usage() -> Dict[str, float]:
    """What the calls of this process have cost so far: calls, gpu_ms, queue_ms, load_ms."""
    return dict(_client.totals)


def close() -> None:
    """Lets the connection go; the next call opens another."""
    _client.close()

)";
  out += fmt::format("\nFUNCTIONS = [\n{}]\n", names);
  out +=
      "__all__ = FUNCTIONS + [\"FUNCTIONS\", \"GpumcpError\", \"Timeout\", \"ToolError\", "
      "\"Unavailable\", \"batch\", \"close\",\n                       \"configure\", \"usage\"]\n";
  return out;
}

Json module_config(const Manifest& manifest, const ExposeOptions& options) {
  Json sources = Json::object();
  std::vector<fs::path> files = manifest.dependencies;
  if (files.empty()) files.push_back(manifest.library);
  for (auto& path : files) {
    struct stat info{};
    if (stat(path.c_str(), &info) == 0)
      sources[path.string()] = {
          info.st_size, int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec};
  }
  Json out = {{"name", options.name},
              {"command", options.serve_command},
              {"regenerate", options.expose_command},
              {"sources", std::move(sources)}};
  if (!options.url.empty()) out["url"] = options.url;
  if (!options.token_file.empty()) out["token_file"] = options.token_file;
  return out;
}

mcp::Result<void> write_module(const Manifest& manifest, const ExposeOptions& options,
                               const fs::path& folder, Written& written) {
  const std::string client = read_file(template_file("client.py"));
  if (client.empty())
    return fail(ErrorCode::io_error, fmt::format("{} is missing: install gpumcp again",
                                                 template_file("client.py").string()));
  const std::string init = fmt::format(
      "{}\n\nfrom pathlib import Path as _Path\n\nfrom . import _client as _connection\n\n"
      "_connection.refresh(_Path(__file__).parent)\n\n"
      "from ._tools import *  # noqa: E402,F401,F403 - after the refresh\n"
      "from ._tools import __all__  # noqa: E402,F401\n",
      docstring(description_of(manifest) + "\n\n" + kMadeBy));
  for (const auto& [name, text] :
       {std::pair<const char*, std::string>{"__init__.py", init},
        {"_tools.py", tools_module(manifest, stubs_of(manifest))},
        {"_client.py", client},
        {"py.typed", ""},
        {"gpumcp.json", module_config(manifest, options).dump(1) + "\n"}}) {
    if (auto ok = write_file(folder / name, text, written); !ok) return ok;
  }
  return {};
}

mcp::Result<void> check_module_name(const std::string& name) {
  if (python_name(name) == name) return {};
  return fail(ErrorCode::invalid_params,
              fmt::format("--name {}: a Python module is named by letters, digits and _", name));
}

std::string signatures(const std::vector<Stub>& stubs, const std::string& prefix) {
  std::string out;
  for (const Stub& stub : stubs) {
    std::string doc = stub.doc;
    out += fmt::format("### `{}{}{}`\n\n", prefix, stub.name, stub.signature());
    const size_t args = doc.find("\n\nArgs:\n");
    out += doc.substr(0, args) + "\n\n";
    bool any = false;
    for (auto& parameter : stub.parameters) {
      if (parameter.description.empty()) continue;
      out += fmt::format("- `{}`: {}\n", parameter.name, parameter.description);
      any = true;
    }
    if (any) out += "\n";
    for (auto& definition : stub.definitions)
      out += fmt::format("```python\n{}```\n\n", definition);
  }
  return out;
}

}  // namespace

mcp::Result<Written> expose_library(const Manifest& manifest, const ExposeOptions& options) {
  if (auto ok = check_module_name(options.name); !ok) return tl::unexpected(std::move(ok.error()));
  Written written;
  if (auto ok = write_module(manifest, options, options.out / options.name, written); !ok)
    return tl::unexpected(std::move(ok.error()));
  return written;
}

mcp::Result<Written> expose_prompt(const Manifest& manifest, const ExposeOptions& options) {
  if (auto ok = check_module_name(options.name); !ok) return tl::unexpected(std::move(ok.error()));
  const auto stubs = stubs_of(manifest);
  std::string text = fmt::format(
      "# {0}\n\n{1}\n\nA Python module: `import {0}`. Its functions run on a GPU worker that "
      "starts "
      "with the first call (which may take some seconds) and leaves when it idles; arguments and "
      "results are plain Python values. A failure raises `{0}.ToolError`, whose text says why. For "
      "many calls use `{0}.batch(function, items)`, which runs them together.\n\n## Functions\n\n",
      options.name, description_of(manifest));
  text += signatures(stubs, options.name + ".");
  Written written;
  if (auto ok = write_file(options.out / (options.name + ".md"), text, written); !ok)
    return tl::unexpected(std::move(ok.error()));
  return written;
}

mcp::Result<Written> expose_skill(const Manifest& manifest, const ExposeOptions& options) {
  if (auto ok = check_module_name(options.name); !ok) return tl::unexpected(std::move(ok.error()));
  // A skill's name takes no _; its module's takes no -.
  std::string skill = options.name;
  std::replace(skill.begin(), skill.end(), '_', '-');
  std::transform(skill.begin(), skill.end(), skill.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto stubs = stubs_of(manifest);
  std::vector<std::string> names;
  for (const Stub& stub : stubs) names.push_back(stub.name);
  std::string about = description_of(manifest);
  std::replace(about.begin(), about.end(), '\n', ' ');
  const std::string description =
      fmt::format("{} Functions: {}. Use it when a task needs one of them.", about,
                  fmt::join(names, ", "))
          .substr(0, 1000);
  const std::string example = stubs.empty() ? "" : stubs.front().name;
  std::string text = fmt::format(
      "---\nname: {0}\ndescription: {1}\n---\n\n# {2}\n\n{3}\n\nThe functions run on a GPU worker "
      "that starts with the first call (which may take some seconds) and leaves when it idles.\n\n"
      "## From Python\n\n```python\nimport sys\nsys.path.insert(0, \"<this skill's "
      "folder>/scripts\")\n"
      "import {2}\n{2}.{4}(...)\n{2}.batch({2}.{4}, [...])   # many calls together\n```\n\nA "
      "failure "
      "raises `{2}.ToolError`, whose text says why.\n\n## From the shell\n\n```\n"
      "python3 scripts/call.py                      lists the functions\n"
      "python3 scripts/call.py {4} '{{...}}'   arguments as one JSON object; prints JSON\n```\n\n"
      "## Functions\n\n{5}",
      skill, python_string(description), options.name, description_of(manifest), example,
      signatures(stubs, ""));
  Written written;
  const fs::path folder = options.out / skill;
  if (auto ok = write_file(folder / "SKILL.md", text, written); !ok)
    return tl::unexpected(std::move(ok.error()));
  if (auto ok =
          write_file(folder / "scripts/call.py", read_file(template_file("call.py")), written);
      !ok)
    return tl::unexpected(std::move(ok.error()));
  if (auto ok = write_module(manifest, options, folder / "scripts" / options.name, written); !ok)
    return tl::unexpected(std::move(ok.error()));
  return written;
}

mcp::Result<Written> expose_mcp(const Manifest&, const ExposeOptions& options) {
  Written written;
  std::string name = options.name;
  std::replace(name.begin(), name.end(), '_', '-');  // some hosts take no _ in a server's name
  const std::vector<std::string> args(options.serve_command.begin() + 1,
                                      options.serve_command.end());
  for (const std::string& host : known_hosts()) {
    const auto entry = host_config(host, name, options.serve_command.front(), args);
    const fs::path path = options.out / fmt::format("{}-{}.{}", options.name, host,
                                                    host == "codex" ? "toml" : "json");
    if (auto ok = write_file(path, entry->text + "\n", written); !ok)
      return tl::unexpected(std::move(ok.error()));
  }
  return written;
}

}  // namespace gpumcp::sandbox
