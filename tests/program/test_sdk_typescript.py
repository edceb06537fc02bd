"""The official TypeScript SDKs (2.x: both eras; 1.x: legacy) list, call and read over stdio and HTTP.

tests/node/*.mjs are the drivers; the packages lie where GPUMCP_TEST_NODE says, put there by scripts/test.
"""

import json
import os
import pathlib
import shutil
import subprocess

import pytest
from client import LEGACY, MODERN
from conftest import BIN, ROOT
from everything import everything

DRIVERS = ROOT / "tests/node"
CACHE = pathlib.Path(os.environ.get("GPUMCP_CACHE") or pathlib.Path.home() / ".cache/gpumcp")
PACKAGES = pathlib.Path(os.environ.get("GPUMCP_TEST_NODE") or CACHE / "test-node")
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(
    not NODE or not (PACKAGES / "node_modules").is_dir(),
    reason=f"no node, or no npm packages in {PACKAGES}: scripts/test puts them there",
)


def drive(world, driver, transport, mode):
    if transport == "stdio":
        target = {"command": str(BIN), "args": ["serve", "--idle", "1"], "env": world.env}
    else:
        http = world.serve_http()
        target = {"url": f"http://{http.host}:{http.port}/{'sse' if transport == 'sse' else 'mcp'}"}
    return run(driver, {"mode": mode, **target})


def run(driver, target):
    done = subprocess.run(
        [NODE, str(DRIVERS / driver)], input=json.dumps(target), text=True, timeout=90,
        env={**os.environ, "GPUMCP_TEST_NODE": str(PACKAGES)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def check(seen, version):
    assert seen["protocolVersion"] == version
    assert "get_embedding" in seen["tools"]
    assert seen["call"]["structuredContent"]["dims"] == 384
    assert seen["call"]["_meta"]["gpumcp/usage"]["tokens"] == 4
    assert seen["npy"] == "k05VTVBZ"  # \x93NUMPY
    assert seen["wrong"]["isError"] is True and "text" in seen["wrong"]["content"][0]["text"]
    assert "frobnicate" in seen["unknown"]
    assert seen["many"] == [f"text number {i}" for i in range(16)]


@pytest.mark.parametrize("transport", ["stdio", "http"])
@pytest.mark.parametrize("mode, version", [("legacy", LEGACY[-1]), ("auto", MODERN), (MODERN, MODERN)])
def test_client_2_x(world, transport, mode, version):
    check(drive(world, "client_v2.mjs", transport, mode), version)


@pytest.mark.parametrize("transport", ["stdio", "http"])
def test_client_1_x(world, transport):
    check(drive(world, "client_v1.mjs", transport, "legacy"), LEGACY[-1])


def test_client_1_x_over_http_and_sse(world):
    seen = drive(world, "client_v1.mjs", "sse", "legacy")
    assert "get_embedding" in seen["tools"]
    assert seen["many"] == [f"text number {i}" for i in range(16)]


@pytest.mark.parametrize("driver, transport, mode, version", [
    *[("client_v2.mjs", transport, mode, version) for transport in ("stdio", "http", "sse")
      for mode, version in (("legacy", LEGACY[-1]), ("auto", MODERN), (MODERN, MODERN))],
    *[("client_v1.mjs", transport, "legacy", LEGACY[-1]) for transport in ("stdio", "http", "sse")],
])
def test_it_uses_all_that_a_server_offers(world, driver, transport, mode, version):
    with everything(world, transport) as target:
        where = {"command": target[0], "args": target[1:], "env": world.env} if transport == "stdio" else {"url": target}
        seen = run(driver, {"mode": mode, "steps": "everything", **where})
    assert seen["protocolVersion"] in (version, None)  # 1.x tells HTTP+SSE's transport nothing
    assert {"test_simple_text", "test_image_content"} <= set(seen["tools"])
    assert seen["text"] == "This is a simple text response for testing."
    assert seen["kinds"] == ["text", "image", "resource"]
    assert seen["error"]["isError"] is True
    assert seen["progress"] == [0, 50, 100]
    assert "ada@example.com" in seen["elicited"]
    assert seen["sampled"] == "LLM response: Paris"
    assert '"id":"7"' in seen["read"]
    assert "arg1='a', arg2='b'" in seen["prompt"]
    assert seen["completed"] == ["paris", "park", "party"]
