"""What agents see, and what is left behind, when a part dies or the disk is full: in the middle of a call, and in the middle of
loading an interface. `world` fails a test that leaves a process; here each case also looks for files.
"""

import os
import pathlib
import signal
import subprocess
import sys

import client
import pytest
from client import call, text_of
from test_providers import cluster, slurm, ssh, start_waiting, value_of  # noqa: F401 (fixtures)

HERE = pathlib.Path(__file__).parent / "python"
PYTHON = ["--python", sys.executable]


def begin(world, when, *arguments):
    """A front, and the key of a call that is in the middle of it."""
    if when == "call":
        front = world.serve(HERE / "tools.py", *PYTHON, *arguments)
        return front, start_waiting(front)
    front = world.serve(HERE / "loading.py", *PYTHON, *arguments)
    key = front.start(call("x", "ready", {}, progressToken="begun"))
    client.wait_until(lambda: children(world), 60, "the interface is loading")
    return front, key


def children(world):
    return [pid for pid in world.processes() if client.command_of(pid)[-1:] == ["serve"]
            and any(word.endswith("run_host.py") for word in client.command_of(pid))]


def sshds(listener):
    """It and its sessions, which write their titles over what else would tell whose they are."""
    found = [listener]
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = stat.read_text().split("(", 1)[1].rsplit(") ", 1)
        except (OSError, ValueError):
            continue
        if name.startswith("sshd") and int(rest.split()[1]) in found:
            found.append(int(stat.parent.name))
    return found


def error_of(front, key):
    result = front.finish(key)["result"]
    assert result.get("isError"), result
    return text_of(result)


@pytest.fixture(params=["call", "load"])
def when(request):
    return request.param


def test_a_killed_worker_is_named_with_its_end(world, when):
    front, key = begin(world, when)
    worker = world.workers()[0]
    os.kill(worker, signal.SIGKILL)
    said = error_of(front, key)
    assert f"its worker (pid {worker}) was killed by signal 9" in said and "Call again" in said, said
    client.wait_until(lambda: not children(world), 15, "its Python went with it")
    front.close()
    world.wait_gone()
    assert world.connection_files() == []


def test_a_killed_interface_is_named_with_its_end(world, when):
    front, key = begin(world, when)
    os.kill(children(world)[0], signal.SIGKILL)
    said = error_of(front, key)
    assert "killed by signal 9" in said and (".py" in said), said
    assert len(world.workers()) == 1, "the worker lives on"
    front.close()
    world.wait_gone()
    assert world.files() == []


def test_a_killed_front_leaves_nothing(world, when):
    front, _ = begin(world, when)
    os.kill(front.pid, signal.SIGKILL)
    front.process.wait()
    world.wait_gone(30)
    assert world.files() == []


def test_a_killed_sshd_is_told_and_leaves_nothing(world, ssh, when):
    front, key = begin(world, when, "--provider", "ssh:gpubox")
    for pid in sshds(ssh.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    said = error_of(front, key)
    assert "the connection to its worker (ssh:gpubox) was lost" in said, said
    client.wait_until(lambda: not children(world), 15, "nothing runs over there")
    refused = client.wait_until(lambda: text_of(front.call("ready" if when == "load" else "pid")), 30, "an answer")
    assert "ssh:gpubox" in refused, refused
    front.close()
    world.wait_gone()
    assert world.files() == []


def test_a_cancelled_job_is_told_and_leaves_nothing(cluster, when):
    front, key = begin(cluster, when, "--provider", "slurm")
    subprocess.run(["scancel", cluster.jobs()[0][0]], env=cluster.env, check=True)
    said = error_of(front, key)
    assert "the connection to its worker (slurm) was lost" in said or "killed by signal 15" in said, said
    front.close()
    cluster.wait_gone(30)
    assert cluster.files() == []


@pytest.fixture
def small_disk(world):
    """A file system of a few pages."""
    folder = world.folder / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    for pipe in world.pipes:
        if pipe.alive():
            pipe.close()
    world.wait_gone()
    # A worker whose runtime folder lies there is no process of `world`: it holds the folder until it has left.
    client.wait_until(lambda: subprocess.run(["umount", folder], capture_output=True).returncode == 0, 20, "nobody uses the disk")


def fill(folder):
    with open(folder / "ballast", "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass


def test_a_full_disk_in_a_call_is_told_and_keeps_nothing_half_written(world, small_disk):
    front = world.serve(HERE / "tools.py", *PYTHON, "--workspace", small_disk)
    assert not front.call("pid").get("isError")
    fill(small_disk)
    result = front.call("returns", {"what": "vector", "output": "file"})
    assert result["isError"] and "No space left" in text_of(result), text_of(result)
    assert sorted(path.name for path in small_disk.rglob("*") if path.is_file()) == ["ballast"]
    assert value_of(front.call("sphinx_style", {"a": 1, "b": 2})) == 3, "the rest works on"


def test_a_full_disk_while_starting_is_told(world, small_disk):
    world.env["XDG_RUNTIME_DIR"] = str(small_disk)
    fill(small_disk)
    front = world.serve(HERE / "tools.py", *PYTHON)
    result = front.call("pid")
    assert result["isError"] and "No space left" in text_of(result), text_of(result)
    (small_disk / "ballast").unlink()
    assert value_of(client.wait_until(lambda: (lambda r: None if r.get("isError") else r)(front.call("sphinx_style", {"a": 1, "b": 2})))) == 3


def test_a_full_disk_at_the_end_costs_what_was_to_be_kept_and_nothing_else(world, small_disk):
    world.env["GPUMCP_CACHE"] = str(small_disk)
    front = world.serve(HERE / "tools.py", *PYTHON)
    kept = front.call("returns", {"what": "vector"})["structuredContent"]["embedding"]["uri"]
    fill(small_disk)
    client.wait_until(lambda: not world.workers(), 20, "the worker has left all the same")
    assert [path for path in (small_disk / "artifacts").rglob("*") if path.is_file() and path.stat().st_size == 0] == []
    (small_disk / "ballast").unlink()
    gone = front.ask(client.request("r", "resources/read", {"uri": kept}))
    assert "error" in gone, gone
