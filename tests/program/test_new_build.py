"""`gpumcp new` and `gpumcp build`: from nothing to a served interface, in Python and in C++."""

import json

import pytest
from conftest import ROOT

PLAIN = """#include <gpumcp/interface.h>
using namespace gpumcp;
GPUMCP_INTERFACE(plain, interface) {
  interface.expose("add", "Add two numbers.", [](double a, double b) { return a + b; }, arg("a"), arg("b"));
}
"""


def has_torch():
    return json.loads((ROOT / "build/release/lib/gpumcp/build.json").read_text())["torch"]


def test_a_new_python_interface_serves_as_it_is(world):
    folder = world.folder / "my_tools"
    done = world.run("new", "my_tools", "--out", folder)
    assert done.returncode == 0 and done.stdout.splitlines() == [str(folder / "interface.py"), str(folder / "gpumcp.toml")]
    called = world.run("call", "word_lengths", "text=a bigger world", "longest=2", "--config", folder / "gpumcp.toml", "--idle", "1")
    assert json.loads(called.stdout) == {"words": {"bigger": 6, "world": 5}, "count": 3}, called.stderr
    again = world.run("new", "my_tools", "--out", folder)
    assert again.returncode == 1 and "interface.py is there already" in again.stderr


@pytest.mark.parametrize("name", ["My-Tools", "9lives", "_x", "a b", "../up", ""])
def test_names_that_hosts_or_paths_would_break_on_are_refused(world, name):
    done = world.run("new", name, "--out", world.folder / "x")
    assert done.returncode == 1 and not (world.folder / "x").exists()


def test_a_new_cpp_interface_is_built_and_serves(world):
    if not has_torch():
        pytest.skip("built without libtorch")
    folder = world.folder / "cpp_tools"
    assert world.run("new", "cpp_tools", "--cpp", "--out", folder).returncode == 0
    built = world.run("build", folder / "interface.cpp", "--out", folder / "cpp_tools.so", timeout=300)
    assert built.returncode == 0, built.stderr
    assert built.stdout.splitlines() == [str(folder / "cpp_tools.so"), str(folder / "cpp_tools.json")]
    called = world.run("call", "get_embedding", "text=hello world", "--config", folder / "gpumcp.toml", "--idle", "1")
    assert called.returncode == 0, called.stderr
    assert len(json.loads(called.stdout)["preview"]) == 10


def test_an_interface_without_models_is_built_without_torch(world):
    (world.folder / "plain.cpp").write_text(PLAIN)
    built = world.run("build", world.folder / "plain.cpp", "--no-torch", "--out", world.folder, timeout=300)
    assert built.returncode == 0, built.stderr
    world.idle = "60"
    front = world.serve(world.folder / "plain.so")
    assert front.call("add", {"a": 1, "b": 2})["structuredContent"] == {"result": 3}
    # Built again while it runs: the old one stays what it is, the next front has the new one.
    (world.folder / "plain.cpp").write_text(PLAIN.replace("a + b", "a - b"))
    assert world.run("build", world.folder / "plain.cpp", "--no-torch", timeout=300).returncode == 0
    assert front.call("add", {"a": 1, "b": 2})["structuredContent"] == {"result": 3}
    assert world.serve(world.folder / "plain.so").call("add", {"a": 1, "b": 2})["structuredContent"] == {"result": -1}


def test_what_the_compiler_says_is_shown_and_nothing_is_left(world):
    (world.folder / "broken.cpp").write_text(PLAIN.replace("return a + b;", "return a +;"))
    done = world.run("build", world.folder / "broken.cpp", "--no-torch", timeout=300)
    assert done.returncode == 1 and "broken.cpp:4" in done.stderr and "exit code 1" in done.stderr
    assert [path.name for path in world.folder.glob("broken*")] == ["broken.cpp"]
    missing = world.run("build", world.folder / "absent.cpp")
    assert missing.returncode == 1 and "there is no" in missing.stderr
