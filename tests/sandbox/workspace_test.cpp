#include "sandbox/workspace.h"

#include <doctest/doctest.h>

#include <fstream>

#include "sandbox/files.h"
#include "support.h"

using namespace gpumcp;
using sandbox::Library;
namespace fs = std::filesystem;

namespace {

struct Folders {
  sandbox::TemporaryRuntime temporary;
  fs::path source = temporary.path() / "source", work = temporary.path() / "work";

  Folders() { fs::create_directories(source); }
  fs::path write(const fs::path& name, const std::string& text) {
    fs::create_directories((source / name).parent_path());
    std::ofstream(source / name) << text;
    return source / name;
  }
};

Library served(const std::string& as) {
  sandbox::Manifest manifest{.name = "tools", .library = "/x/tools.so"};
  manifest.tools.push_back({.name = "embed",
                            .description = "Embed a text.\nMore.",
                            .inputSchema = {{"type", "object"},
                                            {"properties", {{"text", {{"type", "string"}}}}},
                                            {"required", {"text"}}}});
  return Library::served("my_tools", manifest, {"/opt/gpumcp", "serve", "--sandbox", "s", "tools"},
                         as)
      .value();
}

}  // namespace

TEST_CASE("a library is a module or a package, by a name that Python can import") {
  Folders folders;
  CHECK(Library::from_file(folders.write("helpers.py", "")).value().name == "helpers");
  CHECK_FALSE(Library::from_file(folders.source / "absent.py"));
  CHECK_FALSE(Library::from_file(folders.write("not-a-name.py", "")));
  CHECK_FALSE(Library::from_file(folders.write("notes.txt", "")));
  folders.write("package/__init__.py", "");
  CHECK(Library::from_directory(folders.source / "package/").value().name == "package");
  folders.write("my-skill/SKILL.md", "");
  CHECK(Library::from_directory(folders.source / "my-skill").value().expose_as == "skill");
  CHECK_FALSE(Library::from_directory(folders.source / "absent"));
  CHECK_FALSE(Library::served("x", {}, {}, "magic"));
}

TEST_CASE("docs are a module's public functions, by its text, without running it") {
  Folders folders;
  const auto library = Library::from_file(folders.write("helpers.py", R"(#!/usr/bin/env python3
"""Formatting.

More.
"""
raise RuntimeError("this does not run")

def one(a: int,
        b: str = "x") -> str:
    """Say one."""

async def two():
    pass

def _hidden(): pass

class C:
    def method(self): pass
)"))
                           .value();
  const std::string docs = library.docs();
  CHECK(docs.find("Formatting.") != std::string::npos);
  CHECK(docs.find("- `helpers.one(a: int, b: str = \"x\") -> str`: Say one.\n") !=
        std::string::npos);
  CHECK(docs.find("- `helpers.two()`\n") != std::string::npos);
  CHECK(docs.find("hidden") == std::string::npos);
  CHECK(docs.find("method") == std::string::npos);
}

TEST_CASE("a session has the modules, the tools' servers and the agent's page") {
  Folders folders;
  folders.write("package/__init__.py", "def f(): pass\n");
  folders.write("package/deep/more.py", "x = 1\n");
  folders.write("package/__pycache__/old.pyc", "no");
  sandbox::Workspace workspace;
  workspace.libraries = {Library::from_file(folders.write("helpers.py", "y = 2\n")).value(),
                         Library::from_directory(folders.source / "package").value(),
                         served("mcp")};
  workspace.instructions = "Be brief.";
  const auto session = sandbox::create_local_session(workspace, folders.work, "first");
  REQUIRE(session);
  CHECK(session->name == "first");
  CHECK(session->needs_shell);
  CHECK(sandbox::read_file(folders.work / "helpers.py") == "y = 2\n");
  CHECK(fs::exists(folders.work / "package/deep/more.py"));
  CHECK_FALSE(fs::exists(folders.work / "package/__pycache__"));
  CHECK(session->mcp_config["mcpServers"]["my-tools"]["command"] == "/opt/gpumcp");
  CHECK(session->mcp_config["mcpServers"]["my-tools"]["args"][2] == "s");
  const std::string page = sandbox::read_file(folders.work / "AGENTS.md");
  CHECK(page.find("Be brief.") != std::string::npos);
  CHECK(page.find("- `embed`: Embed a text.\n") != std::string::npos);
  CHECK(sandbox::read_file(folders.work / "CLAUDE.md").starts_with("@AGENTS.md"));
  // The next session takes over, but for what is the user's.
  std::ofstream(folders.work / "CLAUDE.md") << "mine";
  workspace.instructions = "Be long.";
  REQUIRE(sandbox::create_local_session(workspace, folders.work, "second"));
  CHECK(sandbox::read_file(folders.work / "AGENTS.md").find("Be long.") != std::string::npos);
  CHECK(sandbox::read_file(folders.work / "CLAUDE.md") == "mine");
}

TEST_CASE("tools alone need no shell, and a broken .mcp.json of the user's is not overwritten") {
  Folders folders;
  sandbox::Workspace workspace;
  workspace.libraries = {served("mcp")};
  fs::create_directories(folders.work);
  std::ofstream(folders.work / ".mcp.json") << "{ not JSON";
  auto refused = sandbox::create_local_session(workspace, folders.work, "s");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.find(".mcp.json") != std::string::npos);
  CHECK(sandbox::read_file(folders.work / ".mcp.json") == "{ not JSON");
  fs::remove(folders.work / ".mcp.json");
  const auto session = sandbox::create_local_session(workspace, folders.work, "s");
  REQUIRE(session);
  CHECK_FALSE(session->needs_shell);
}

TEST_CASE("a library that lies in the workspace already stays as it is") {
  Folders folders;
  sandbox::Workspace workspace;
  workspace.libraries = {Library::from_file(folders.write("helpers.py", "z = 3\n")).value()};
  REQUIRE(sandbox::create_local_session(workspace, folders.source, "s"));
  CHECK(sandbox::read_file(folders.source / "helpers.py") == "z = 3\n");
}
