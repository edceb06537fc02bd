"""What every test of the program gets: a runtime folder of its own, programs that live in it, and at the end the proof
that nothing is left: no process, no file.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import client
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("GPUMCP_BIN") or ROOT / "build/release/bin/gpumcp").resolve()
LIB = BIN.parent.parent / "lib"
TEST_TOOLS = pathlib.Path(os.environ.get("GPUMCP_TEST_TOOLS") or LIB / "gpumcp/interfaces/test_tools.so")
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


def pytest_configure(config):
    if not os.access(BIN, os.X_OK):
        pytest.exit(f"there is no program {BIN}: build it first (scripts/test does), or set GPUMCP_BIN", returncode=2)


class World:
    """One user's gpumcp: a short runtime folder and everything started in it."""

    def __init__(self, idle="1"):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="gpumcp-t", dir="/tmp"))
        self.runtime = self.folder / "r"
        self.runtime.mkdir(mode=0o700)
        self.idle = idle
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("GPUMCP_") or k == "GPUMCP_CACHE"}
        self.env["XDG_RUNTIME_DIR"] = str(self.runtime)
        self.pipes = []
        self.logs = 0

    def log_path(self):
        self.logs += 1
        return self.folder / f"stderr-{self.logs}"

    def pipe(self, *arguments, **more):
        """Any gpumcp command whose stdin and stdout speak MCP."""
        self.pipes.append(client.Pipe([str(BIN), *map(str, arguments)], self.env, self.log_path(), **more))
        return self.pipes[-1]

    def pipe_to(self, program, *arguments):
        """Any other program that does."""
        self.pipes.append(client.Pipe([str(program), *map(str, arguments)], self.env, self.log_path()))
        return self.pipes[-1]

    def serve(self, *arguments):
        return self.pipe("serve", *arguments, "--idle", self.idle)

    def serve_tools(self):
        """A front of the torch-free test interface."""
        assert TEST_TOOLS.exists(), f"{TEST_TOOLS} was not built"
        return self.serve(TEST_TOOLS)

    def serve_http(self, *arguments, address="127.0.0.1:0"):
        front = self.serve(*arguments, "--http", address)
        front.listens = True
        line = client.wait_until(
            lambda: re.search(r"listening on http://([^\s/]+):(\d+)/mcp", front.stderr()) or not front.alive(),
            20, "an HTTP front says where it listens",
        )
        assert front.alive(), front.stderr()
        http = client.Http(line[1], int(line[2]))
        http.front = front
        return http

    def run(self, *arguments, timeout=client.TIMEOUT_S, env=None, **more):
        return subprocess.run(
            [str(BIN), *map(str, arguments)], env={**self.env, **(env or {})}, timeout=timeout,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more,
        )

    def processes(self):
        return client.processes_with("XDG_RUNTIME_DIR", str(self.runtime))

    def workers(self):
        return [pid for pid in self.processes() if "worker" in client.command_of(pid)[1:2]]

    def files(self):
        """What lies in the runtime folder that is no folder: connection files, sockets."""
        return [path for path in self.runtime.rglob("*") if not path.is_dir()]

    def connection_files(self):
        return [path for path in self.files() if path.suffix == ".json"]

    def wait_gone(self, timeout=15.0):
        client.wait_until(lambda: not self.processes(), timeout, "every process has left")

    def end(self):
        """Ends what is there, and says what would not go."""
        bad_lines = [line for pipe in self.pipes for line in pipe.bad_lines]
        try:
            for pipe in self.pipes:
                if pipe.alive():
                    pipe.close()
            if self.processes():
                self.run("stop")
            self.wait_gone()
        finally:
            left = {pid: " ".join(client.command_of(pid)) for pid in self.processes()}
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            shutil.rmtree(self.folder, ignore_errors=True)
            assert not left, f"processes left behind: {left}"
        assert not bad_lines, f"not JSON on stdout: {bad_lines[:3]}"


@pytest.fixture
def world():
    made = World()
    yield made
    made.end()


@pytest.fixture(scope="module")
def shared_world():
    """For tests that only call: one worker for all of a file."""
    made = World(idle="60")
    yield made
    made.end()
