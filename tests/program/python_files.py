"""What the tests of Python interfaces share: the files that they serve, and how they read answers.

Interfaces run on this test's own Python, which has NumPy; no torch is needed.
"""

import base64
import io
import pathlib
import sys
import textwrap

import numpy
import pytest
from client import call, request, text_of

FILES = pathlib.Path(__file__).parent / "python"
TOOLS = FILES / "tools.py"
PYTHON = ["--python", sys.executable]


@pytest.fixture(scope="module")
def tools(shared_world):
    front = shared_world.serve(TOOLS, *PYTHON, "--model", "org/model=" + str(FILES), "--env", "GREETING=hello")
    yield front
    front.close()


def serve_text(world, text, *arguments, name="interface.py"):
    """A front of an interface whose source is given."""
    path = world.folder / name
    path.write_text(textwrap.dedent(text))
    return world.serve(path, *PYTHON, *arguments)


def refusal(world, text, name="interface.py"):
    """What serving this source says on stderr; it must end at once."""
    path = world.folder / name
    path.write_text(textwrap.dedent(text))
    done = world.run("serve", path)
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert done.stdout == ""
    return done.stderr


def error_of(result):
    assert result.get("isError"), result
    return text_of(result)


def value_of(result):
    assert not result.get("isError"), text_of(result)
    return result["structuredContent"]


def tool_list(front):
    return {tool["name"]: tool for tool in front.ask(request(front.new_id(), "tools/list"))["result"]["tools"]}


def load_npy(front, uri):
    return numpy.load(io.BytesIO(base64.b64decode(front.read_resource(uri)["blob"])), allow_pickle=False)


def start_all(front, tool, arguments, count):
    return [front.start(call(front.new_id(), tool, arguments)) for _ in range(count)]


def results_of(front, keys):
    return [value_of(front.finish(key)["result"])["result"] for key in keys]


def log_of(world):
    return "\n".join(path.read_text(errors="replace") for path in world.runtime.rglob("worker.log"))
