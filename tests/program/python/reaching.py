"""Functions that try to reach what they should not; each says how that went."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile


def tried(run) -> str:
    try:
        return run()
    except OSError as problem:
        return f"Error {problem}"


@expose
def read(path: str) -> str:
    """The text of a file, or the names in a folder."""
    return tried(lambda: ",".join(os.listdir(path)) if os.path.isdir(path) else open(path).read())


@expose
def write(path: str, text: str) -> str:
    """Writes a file."""
    def run():
        with open(path, "w") as file:
            file.write(text)
        return "written"
    return tried(run)


@expose
def remove(path: str) -> str:
    """Removes a file."""
    return tried(lambda: os.remove(path) or "removed")


@expose
def temporary() -> str:
    """Writes a temporary file."""
    def run():
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("x")
        return "written"
    return tried(run)


@expose
def connect(port: int) -> str:
    """Connects to a port of this machine."""
    def run():
        with socket.create_connection(("127.0.0.1", port), 5):
            return "connected"
    return tried(run)


@expose
def connect_unix(address: str) -> str:
    """Connects to a Unix socket; @NAME is an abstract one."""
    def run():
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(address.replace("@", "\0"))
        return "connected"
    return tried(run)


@expose
def kill(pid: int) -> str:
    """Ends another process."""
    return tried(lambda: os.kill(pid, signal.SIGTERM) or "killed")


@expose
def trace(pid: int) -> str:
    """Attaches to another process as a debugger does (PTRACE_SEIZE)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(0x4206, pid, None, None) == 0:
        return "traced"
    return f"Error {os.strerror(ctypes.get_errno())}"


@expose
def own_child() -> int:
    """Starts a process and ends it."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    child.kill()
    return child.wait()


@expose
def environment(name: str) -> str:
    """A variable of the environment."""
    return os.environ.get(name, "none")


@expose
def add(a: int, b: int) -> int:
    """A sum."""
    return a + b


@expose
def fail() -> int:
    """Raises."""
    raise ValueError("as asked")


@expose
def die() -> int:
    """Ends its process."""
    os._exit(3)


@expose
def torch_product() -> float:
    """A product of two vectors, by torch."""
    import torch
    return float(torch.tensor([1.0, 4.0]) @ torch.tensor([1.0, 4.0]))
