"""The program where it is installed: it finds its interfaces and libraries by itself."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import BIN, ROOT

BUILD = BIN.parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    if not (BUILD / "cmake_install.cmake").exists():
        pytest.fail(f"{BUILD} is no build folder: the program under test was not built here")
    prefix = tmp_path_factory.mktemp("prefix")
    subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(prefix)], check=True, capture_output=True)
    return prefix


def test_an_installed_program_lists_its_tools_from_the_manifest_that_came_along(world, installed, tmp_path):
    env = {**world.env, "GPUMCP_CACHE": str(tmp_path)}  # no cached manifest, and none is made
    done = subprocess.run([str(installed / "bin/gpumcp"), "tools"], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "get_embedding(" in done.stdout
    assert not (tmp_path / "manifests").exists()


def test_an_installed_program_computes_without_LD_LIBRARY_PATH(world, installed):
    env = {k: v for k, v in world.env.items() if k != "LD_LIBRARY_PATH"}
    command = [str(installed / "bin/gpumcp"), "call", "get_embedding", "text=hello world", "--idle", "0"]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert '"dims":384' in done.stdout


def test_installed_libraries_name_no_folder_of_the_build(installed):
    for path in [*installed.rglob("*.so"), installed / "bin/gpumcp"]:
        dynamic = subprocess.run(["readelf", "-d", str(path)], capture_output=True, text=True, check=True).stdout
        paths = [line for line in dynamic.splitlines() if "RUNPATH" in line or "RPATH" in line]
        assert all(str(BUILD) not in line for line in paths), (path, paths)
    assert os.access(installed / "bin/gpumcp", os.X_OK)


# --- gpumcp::mcp alone, as a program takes it that wants the SDK and no torch --------------------------------------

PROGRAM = """
#include <gpumcp/mcp.h>
#include <cstdio>
using namespace gpumcp;
int main() {
  mcp::Server server({.name = "alone", .version = "1"});
  server.expose("add", "Add two numbers.", [](int a, int b) { return a + b; }, arg("a"), arg("b"));
  auto [near_end, far_end] = mcp::make_memory_transports();
  std::thread serving([&] { server.serve(*far_end); });
  auto client = mcp::Client::connect(std::move(near_end));
  std::printf("%s\\n", (*client)->call_tool("add", {{"a", 1}, {"b", 2}})->structuredContent.c_str());
  client->reset();
  serving.join();
  // Over HTTP too, so that its libraries are linked and found.
  auto http = mcp::HttpServer::listen(server, {});
  std::thread answering([&] { (*http)->serve(); });
  auto far = mcp::Client::connect(*mcp::make_http_transport((*http)->url()));
  std::printf("%s\\n", (*far)->call_tool("add", {{"a", 3}, {"b", 4}})->structuredContent.c_str());
  far->reset();
  (*http)->stop();
  answering.join();
}
"""


def build_alone(folder, find, *options):
    folder.mkdir()
    (folder / "main.cpp").write_text(PROGRAM)
    (folder / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.25)\nproject(alone LANGUAGES CXX)\n"
        f"{find}\nadd_executable(alone main.cpp)\ntarget_link_libraries(alone PRIVATE gpumcp::mcp)\n")
    launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
    for command in (["cmake", "-S", str(folder), "-B", str(folder / "build"), "-G", "Ninja", "-DCMAKE_CXX_FLAGS=-O0",
                     *launcher, *options],
                    ["cmake", "--build", str(folder / "build"), "--target", "alone"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    made = folder / "build/alone"
    done = subprocess.run([str(made)], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ['{"result":3}', '{"result":7}'], done.stderr
    needs = subprocess.run(["readelf", "-d", str(made)], capture_output=True, text=True, check=True).stdout
    assert "torch" not in needs and "libc10" not in needs
    return (folder / "build/build.ninja").read_text()


def test_a_program_takes_the_sdk_by_find_package(tmp_path):
    prefix = tmp_path / "prefix"
    subprocess.run(["cmake", "--install", str(BUILD), "--prefix", str(prefix), "--component", "mcp"], check=True,
                   capture_output=True)
    installed = [str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file()]
    assert "include/gpumcp/mcp.h" in installed and "lib/libgpumcp_mcp.a" in installed
    assert not any("torch" in name or "gpu_runtime" in name for name in installed)
    for config in (prefix / "lib/cmake/gpumcp").glob("*.cmake"):
        assert str(BUILD) not in config.read_text() and str(ROOT) not in config.read_text(), config
    # So that nothing but the prefix can be what is found.
    rules = build_alone(tmp_path / "program", "find_package(gpumcp 0.1 REQUIRED)", f"-DCMAKE_PREFIX_PATH={prefix}")
    assert str(ROOT) + "/mcp" not in rules


def test_a_program_takes_the_sdk_by_add_subdirectory(tmp_path):
    rules = build_alone(tmp_path / "program", f'add_subdirectory("{ROOT}" gpumcp EXCLUDE_FROM_ALL)')
    for part in ("gpu_runtime", "sandbox", "torch"):
        assert f"{ROOT}/{part}" not in rules and f"lib{part}" not in rules


def test_the_python_package_that_is_installed_with_the_program_finds_it(installed):
    env = {k: v for k, v in os.environ.items() if k not in ("GPUMCP_PROGRAM", "PYTHONPATH")}
    done = subprocess.run([sys.executable, "-c", "from gpumcp.program import find_program; print(find_program())"],
                          env={**env, "PYTHONPATH": str(installed / "share/gpumcp/python")}, capture_output=True, text=True)
    assert done.stdout.strip() == str(installed / "bin/gpumcp"), done.stderr


def test_an_installed_program_builds_interfaces_against_its_own_headers(world, installed, tmp_path):
    (tmp_path / "plain.cpp").write_text(
        "#include <gpumcp/interface.h>\nusing namespace gpumcp;\nGPUMCP_INTERFACE(plain, interface) {\n"
        '  interface.expose("twice", "Twice.", [](double x) { return 2 * x; }, arg("x"));\n}\n')
    for options in ([], ["--no-torch"]):
        done = subprocess.run([str(installed / "bin/gpumcp"), "build", str(tmp_path / "plain.cpp"), "--verbose", *options],
                              capture_output=True, text=True, env=world.env)
        assert done.returncode == 0, done.stderr
        assert str(ROOT) not in done.stderr.replace(str(tmp_path), ""), "nothing of the source tree is used"
        called = subprocess.run([str(installed / "bin/gpumcp"), "call", "twice", "x=4", "--idle", "0", "--", str(installed / "bin/gpumcp"),
                                 "serve", str(tmp_path / "plain.so"), "--idle", "0"], capture_output=True, text=True, env=world.env)
        assert called.stdout.strip() == '{"result":8}', called.stderr
