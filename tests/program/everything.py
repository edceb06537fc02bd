"""A server that offers all that there is (the conformance suite's fixtures), over any of our transports."""

import contextlib
import subprocess

from conftest import BIN

SERVER = BIN.parent / "conformance_server"


@contextlib.contextmanager
def everything(world, transport):
    """stdio: the command to start; http, sse: the URL of one that runs."""
    if transport == "stdio":
        yield [str(SERVER), "--stdio"]
        return
    server = subprocess.Popen([str(SERVER), "--http", "127.0.0.1:0"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              text=True, env=world.env)
    try:
        url = server.stdout.readline().strip()
        assert url.endswith("/mcp"), url
        yield url[:-3] + "sse" if transport == "sse" else url
    finally:
        server.terminate()
        server.wait(10)
        server.stdout.close()
