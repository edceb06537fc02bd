"""Our client, on the command line and as the example, against servers of the official SDKs and of FastMCP."""

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from client import wait_until
from conftest import BIN, ROOT

SERVERS = pathlib.Path(__file__).with_name("servers")
CACHE = pathlib.Path(os.environ.get("GPUMCP_CACHE") or pathlib.Path.home() / ".cache/gpumcp")
PACKAGES = pathlib.Path(os.environ.get("GPUMCP_TEST_NODE") or CACHE / "test-node")
NODE = shutil.which("node")
EXAMPLE = BIN.parent / "example_client"

PYTHON = {"sdk": "sdk_server.py", "fastmcp": "fastmcp_server.py"}
JAVASCRIPT = {"typescript-1": "server_v1.mjs", "typescript-2": "server_v2.mjs"}
# Which eras our client finds: the newest by itself, and the older one when told to.
MODERN = "2026-07-28"
CASES = [(name, transport) for name in [*PYTHON, *JAVASCRIPT] for transport in ("stdio", "http", "sse")
         if (name, transport) != ("typescript-2", "sse")]  # its 2.x has no server for HTTP+SSE


def command_of(name):
    if name in PYTHON:
        return [sys.executable, str(SERVERS / PYTHON[name])]
    if not NODE or not (PACKAGES / "node_modules").is_dir():
        pytest.skip(f"no node, or no npm packages in {PACKAGES}: scripts/test puts them there")
    return [NODE, str(ROOT / "tests/node" / JAVASCRIPT[name])]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def listens(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture(params=CASES, ids=lambda case: "-".join(case))
def target(request, world):
    """(era found, how gpumcp is told of the server, how the example is)."""
    name, transport = request.param
    env = {**world.env, "GPUMCP_TEST_NODE": str(PACKAGES), "PYTHONDONTWRITEBYTECODE": "1"}
    command = command_of(name)
    era = "2025-11-25" if name == "typescript-1" or transport == "sse" else MODERN
    if transport == "stdio":
        yield name, era, env, ["--", *command, "stdio"], [*command, "stdio"]
        return
    port = free_port()
    with open(world.log_path(), "wb") as log:
        server = subprocess.Popen([*command, transport, str(port)], env=env, stdin=subprocess.DEVNULL, stdout=log,
                                  stderr=log, start_new_session=True)
    try:
        wait_until(lambda: listens(port) or server.poll() is not None, 30, "the server listens")
        assert server.poll() is None, pathlib.Path(log.name).read_text()[-3000:]
        url = f"http://127.0.0.1:{port}/{'sse' if transport == 'sse' else 'mcp'}"
        yield name, era, env, ["--url", url], [url]
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # PyPI's node is a script that starts the real one
        server.wait(10)


def test_our_client_lists_calls_asks_reads_and_prompts(world, target):
    name, era, env, told, server = target

    def gpumcp(*words):
        return world.run(*words, *told, env=env)

    def example(*words, typed=""):
        done = subprocess.run([str(EXAMPLE), *words, "--", *server], input=typed, text=True, capture_output=True,
                              timeout=60, env=env)
        assert done.returncode == 0, done.stderr
        return done

    tools = gpumcp("tools")
    assert tools.returncode == 0, tools.stderr
    assert all(f"{tool}(" in tools.stdout for tool in ("add", "fail", "count", "ask"))
    for spoken in ["legacy", *(["modern"] if era == MODERN else [])]:
        sum_of = gpumcp("call", "add", "a=1", "b=2", "--era", spoken)
        assert sum_of.returncode == 0, sum_of.stderr
        assert sum_of.stdout.strip() in ('{"result":3}', "3")
    failed = gpumcp("call", "fail")
    assert failed.returncode == 5 and "it cannot be done" in failed.stderr

    listed = example("list").stdout
    assert listed.splitlines()[0].endswith(era)
    assert "resource  note://hello" in listed and "prompt    greet" in listed
    assert "hello there" in example("read", "note://hello").stdout
    assert "user: Greet Ada." in example("prompt", "greet", "name=Ada").stdout
    counted = example("call", "count", "to=3")
    assert "at 3" in counted.stderr and "3" in counted.stdout
    # The form's default is filled in, whichever way the question came.
    assert "Hello, Ada of Bern!" in example("call", "ask", typed="Ada\n\n").stdout
