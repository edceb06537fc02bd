"""Interface code under --isolate: what it cannot reach, what it still can, and that nothing runs unisolated where it was asked
not to. Each way of isolating is tried where this machine has it.
"""

import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

import client
import pytest
from client import text_of
from conftest import BIN, TEST_TOOLS

TOOLS = pathlib.Path(__file__).parent / "python/reaching.py"
PYTHON = ["--python", sys.executable]


def why_not(way):
    """Why this machine cannot isolate so; None: it can."""
    spec = {"how": way, "read": ["/usr", "/bin", "/lib", "/lib64", str(BIN.parent.parent)], "write": [], "scratch": "/var/tmp"}
    done = subprocess.run([BIN, "isolated", "--spec", json.dumps(spec), "--", "true"], capture_output=True, text=True, timeout=30)
    return done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else None


WAYS = [pytest.param(way, marks=pytest.mark.skipif(bool(why), reason=f"{way}: {why}"))
        for way, why in ((way, why_not(way)) for way in ("bubblewrap", "landlock"))]


@pytest.fixture(params=WAYS)
def way(request):
    return request.param


@pytest.fixture
def places(world):
    """A home with a key in it, a folder that may be read and one that may be written. Outside /tmp, which every isolated
    process has an empty one of."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="gpumcp-isolation-", dir="/var/tmp"))
    for name in ("home/.ssh", "data", "results"):
        (folder / name).mkdir(parents=True)
    (folder / "home/.ssh/id_ed25519").write_text("a private key")
    (folder / "data/table.txt").write_text("a table")
    world.env["HOME"] = str(folder / "home")
    world.env["GPUMCP_CACHE"] = str(folder / "cache")
    world.env["AGENT_API_TOKEN"] = "tops3cret-value"
    yield folder
    for pipe in world.pipes:
        if pipe.alive():
            pipe.close()
    world.wait_gone()
    assert list(folder.glob("cache/isolated/*")) == [], "its own folders went with it"
    shutil.rmtree(folder)


def serve(world, way, *arguments):
    return world.serve(TOOLS, *PYTHON, f"--isolate={way}", *arguments)


def value_of(front, tool, **arguments):
    result = front.call(tool, arguments)
    assert not result.get("isError"), text_of(result)
    return result["structuredContent"]["result"]


def test_files_outside_are_out_of_reach(world, way, places):
    front = serve(world, way, "--read", places / "data", "--write", places / "results")
    assert value_of(front, "read", path=str(places / "data/table.txt")) == "a table"
    for path in (places / "home/.ssh/id_ed25519", places / "home/.ssh", "/etc/shadow", f"/proc/{front.pid}/environ"):
        assert value_of(front, "read", path=str(path)).startswith("Error"), path
    assert value_of(front, "write", path=str(places / "results/out.txt"), text="done") == "written"
    assert (places / "results/out.txt").read_text() == "done"
    for path in (places / "data/table.txt", places / "home/new", places / "home/.ssh/authorized_keys", TOOLS, "/usr/new",
                 world.runtime / "new"):
        assert value_of(front, "write", path=str(path), text="x").startswith("Error"), path
    assert (places / "data/table.txt").read_text() == "a table"
    assert not (places / "home/new").exists()
    assert value_of(front, "remove", path=str(places / "data/table.txt")).startswith("Error")
    assert value_of(front, "temporary") == "written", "it has a folder for temporary files"
    front.close()


def test_the_network_is_out_of_reach(world, way, places):
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as named:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        named.bind(str(places / "data/socket"))
        named.listen()
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind(f"\0gpumcp-{os.getpid()}")
        abstract.listen()
        front = serve(world, way, "--read", places / "data")
        assert value_of(front, "connect", port=port).startswith("Error")
        assert value_of(front, "connect_unix", address=f"@gpumcp-{os.getpid()}").startswith("Error")
        front.close()
        world.wait_gone()
        open_front = serve(world, way, "--network")
        assert value_of(open_front, "connect", port=port) == "connected"
        open_front.close()
        abstract.close()


def test_other_processes_are_out_of_reach(world, way, places):
    other = subprocess.Popen(["sleep", "600"])
    try:
        front = serve(world, way)
        assert value_of(front, "kill", pid=other.pid).startswith("Error")
        assert value_of(front, "kill", pid=front.pid).startswith("Error")
        assert value_of(front, "kill", pid=world.workers()[0]).startswith("Error")
        assert value_of(front, "trace", pid=other.pid).startswith("Error")
        assert other.poll() is None
        assert value_of(front, "own_child") == -9, "its own processes are its own to end"
        front.close()
    finally:
        other.kill()
        other.wait()


def test_of_the_environment_it_has_what_it_was_given(world, way, places):
    world.env["TEST_SECRET"] = "an0ther-secret"
    front = serve(world, way, "--env", "GREETING=hello", "--secret", "TEST_SECRET")
    assert value_of(front, "environment", name="AGENT_API_TOKEN") == "none"
    assert value_of(front, "environment", name="GREETING") == "hello"
    assert value_of(front, "environment", name="TEST_SECRET") == "[secret TEST_SECRET]"
    assert value_of(front, "environment", name="HOME") != str(places / "home")
    front.close()


def test_calls_work_as_ever(world, way, places):
    front = serve(world, way)
    assert value_of(front, "add", a=2, b=3) == 5
    assert "ValueError: as asked" in text_of(front.call("fail", {}))
    first = world.processes()
    assert front.call("die", {})["isError"]
    assert value_of(client.wait_until(lambda: front), "add", a=1, b=1) == 2
    assert first
    front.close()


def test_torch_works_isolated(world, way, places):
    found = (pathlib.Path.home() / ".cache/gpumcp/environments").glob("*/lib/python3*/site-packages/torch/__init__.py")
    python = os.environ.get("GPUMCP_TEST_TORCH_PYTHON") or next((file.parents[4] / "bin/python" for file in found), None)
    if python is None:
        pytest.skip("no Python environment with torch has been made here (the scoped sandbox's example makes one)")
    front = world.serve(TOOLS, "--python", python, f"--isolate={way}")
    assert value_of(front, "torch_product") == 17.0
    front.close()


def test_a_native_interface_is_isolated_with_its_worker(world, places):
    if why := why_not("landlock"):
        pytest.skip(f"landlock: {why}")
    front = world.serve(TEST_TOOLS, "--isolate", "--read", places / "data")
    assert text_of(front.call("echo", {"text": "still here"})).find("still here") >= 0
    assert text_of(front.call("read_file", {"path": str(places / "data/table.txt")})).find("a table") >= 0
    refused = front.call("read_file", {"path": str(places / "home/.ssh/id_ed25519")})
    assert refused["isError"] and "Permission denied" in text_of(refused)
    refused = front.call("open_socket", {})
    assert refused["isError"] and "Permission denied" in text_of(refused)
    assert front.call("crash", {})["isError"]
    assert "again" in text_of(front.call("echo", {"text": "again"}))
    front.close()


def test_what_cannot_be_isolated_is_refused(world, places):
    (places / "bin").mkdir()
    (places / "bin/python3").symlink_to(sys.executable)
    world.env["PATH"] = str(places / "bin")
    front = world.serve(TOOLS, *PYTHON, "--isolate=bubblewrap")
    said = text_of(front.call("add", {"a": 1, "b": 1}))
    assert "was not run" in said and "bubblewrap is not installed" in said and "Install bubblewrap" in said, said
    front.close()
    front = world.serve(TEST_TOOLS, "--isolate=bubblewrap")
    assert "native interfaces cannot be isolated by bubblewrap" in text_of(front.call("echo", {"text": "x"}))
    front.close()


@pytest.mark.parametrize("arguments, words", [
    (["--network"], "add isolate"), (["--read", "/usr"], "add isolate"), (["--isolate=chroot"], "expected auto, bubblewrap or landlock"),
])
def test_settings_that_would_promise_too_much_are_refused(world, arguments, words):
    done = world.run("serve", TOOLS, *arguments)
    assert done.returncode == 1 and words in done.stderr


def test_a_folder_that_is_not_there_is_told(world, way, places):
    front = serve(world, way, "--write", places / "nowhere")
    assert "there is no such folder" in text_of(front.call("add", {"a": 1, "b": 1}))
    front.close()
