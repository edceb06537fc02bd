"""Fronts and the worker they share: what is mapped, started, attached to, and what is left after any kind of end."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import client
import pytest
from client import call, exit_watch, request, text_of
from conftest import BIN, World

ENDS_WITHIN_S = 1.0


def libraries_of(pid):
    with open(f"/proc/{pid}/maps") as file:
        return {line.split("/")[-1].strip() for line in file if ".so" in line}


def torch_in(pid):
    return {name for name in libraries_of(pid) if "torch" in name or "c10" in name or "cudart" in name}


def worker_of(world):
    (pid,) = client.wait_until(world.workers, what="a worker lives")
    return pid


def start_and_wait_until_running(front, id, tool, arguments=None):
    """A call that does not return at once: when a later one has been answered, this one is with the worker."""
    key = front.start(call(id, tool, arguments))
    assert not front.call("echo", {"text": "after"}).get("isError")
    return key


def test_a_front_never_maps_libtorch_and_its_worker_does(world):
    front = world.serve()
    front.ask(request(1, "tools/list"))
    assert torch_in(front.pid) == set()
    assert world.workers() == [], "listing tools starts no worker"
    assert not front.call("get_embedding", {"text": "hello world"}).get("isError")
    assert torch_in(front.pid) == set()
    assert any("torch_cpu" in name for name in torch_in(worker_of(world)))


def test_a_front_lists_its_tools_at_once_and_stays_small(world):
    began = time.monotonic()
    front = world.serve()
    front.ask(request(1, "tools/list"))
    assert time.monotonic() - began < 1.0
    with open(f"/proc/{front.pid}/status") as file:
        rss_kb = next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))
    assert rss_kb < 40_000


def test_the_instructions_explain_handles_in_five_lines(world):
    """What a host puts before its model, of both eras; hosts cut at 2 KB."""
    front = world.serve()
    modern = front.ask(request(1, "server/discover"))["result"]["instructions"]
    legacy = world.serve().ask(client.initialize(1))["result"]["instructions"]
    assert modern == legacy and len(modern.encode()) < 2048
    lines = [line for line in modern.splitlines() if line.startswith("- ")]
    assert len(lines) == 5, modern
    for line, word in zip(lines, ["URI", "?slice=", "resources/read", "hour", "steer"]):
        assert word in line
    assert "gpumcp://artifacts/" in modern
    # Each is true of a tool: a URI goes on, a part of it too, and it is read whole.
    uri = front.call("get_embeddings", {"texts": ["a cat", "a dog"]})["structuredContent"]["uri"]
    found = front.call("search", {"query": "a kitten", "corpus": [uri]})["structuredContent"]["matches"]
    assert found[0]["index"] == 0
    assert front.read_resource(uri + "?slice=-1")["mimeType"] == "application/x-npy"


def test_three_fronts_at_once_share_one_worker(world):
    first, second, http = world.serve(), world.serve(), world.serve_http()
    results = []

    def work(make):
        results.extend(make(f"text {i}") for i in range(8))

    makers = [lambda text: first.call("get_embedding", {"text": text}),
              lambda text: second.call("get_embedding", {"text": text}),
              lambda text: http.call("get_embedding", {"text": text})]
    threads = [threading.Thread(target=work, args=(make,)) for make in makers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 24 and not any(result.get("isError") for result in results)
    assert sum(result["_meta"]["gpumcp/usage"]["cold"] not in (False, 0) for result in results) >= 1
    worker_of(world)


def test_an_idle_worker_leaves_nothing_behind(world):
    front = world.serve()
    assert not front.call("get_embedding", {"text": "hello"}).get("isError")
    left = exit_watch(worker_of(world))
    assert left(10), "the worker outlives its idle time of 1 s"
    assert world.workers() == []
    assert world.files() == []
    assert not front.call("get_embedding", {"text": "again"}).get("isError"), "the next call starts one anew"
    assert front.close() == 0
    world.wait_gone()
    assert world.files() == []


@pytest.mark.parametrize("end", ["stdin", "SIGINT", "SIGTERM", "SIGHUP"])
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_a_front_ends_within_a_second(world, end, busy):
    front = world.serve_tools()
    front.ask(request(1, "tools/list"))
    if busy:
        start_and_wait_until_running(front, 2, "sleep_ms", {"ms": 20_000})
    if end == "stdin":
        front.process.stdin.close()
    else:
        os.kill(front.pid, getattr(signal, end))
    front.process.wait(ENDS_WITHIN_S)


@pytest.mark.parametrize("end", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_an_http_front_ends_within_a_second(world, end):
    http = world.serve_http()
    assert http.send("GET", "/healthz").status == 200
    os.kill(http.front.pid, getattr(signal, end))
    http.front.process.wait(ENDS_WITHIN_S)


def test_a_front_ends_when_its_parent_dies(world):
    code = "import subprocess,sys,time; p=subprocess.Popen(sys.argv[1:]); print(p.pid, file=sys.stderr, flush=True); p.wait()"
    parent = subprocess.Popen([sys.executable, "-c", code, str(BIN), "serve", "--idle", "1"], env=world.env,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        front = int(parent.stderr.readline())
        ended = exit_watch(front)
        parent.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25",'
                           b'"capabilities":{},"clientInfo":{"name":"t","version":"1"}}}\n')
        parent.stdin.flush()
        assert b"2025-11-25" in parent.stdout.readline()
        parent.kill()
        assert ended(ENDS_WITHIN_S)
    finally:
        parent.kill()
        parent.wait()


def test_what_lies_in_the_runtime_folder_is_the_users_alone(world):
    front = world.serve_tools()
    front.call("echo", {"text": "a"})
    worker_of(world)
    files = world.files()
    assert world.connection_files()
    for path in files:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, f"{path}: {stat.filemode(path.stat().st_mode)}"
    for path in world.connection_files():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    folders = {path.parent for path in files}
    for folder in folders:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder


def test_two_fronts_starting_at_once_100_times_have_one_worker(world):
    world.idle = "30"
    for turn in range(100):
        fronts = [world.serve_tools(), world.serve_tools()]
        keys = [front.start(call(turn, "pid")) for front in fronts]
        pids = {text_of(front.finish(key)["result"]) for front, key in zip(fronts, keys, strict=True)}
        assert len(pids) == 1 and len(world.workers()) == 1, f"turn {turn}: {pids}, {world.workers()}"
        assert len(world.connection_files()) == 1
        assert world.run("stop").returncode == 0
        for front in fronts:
            assert front.close() == 0
        world.wait_gone()


def test_a_worker_killed_in_mid_call_fails_that_call_and_is_replaced(world):
    front = world.serve_tools()
    key = start_and_wait_until_running(front, 1, "sleep_ms", {"ms": 60_000})
    old = worker_of(world)
    os.kill(old, signal.SIGKILL)
    result = front.finish(key, 10)["result"]
    said = text_of(result)
    assert result["isError"] is True
    assert "sleep_ms" in said
    assert "kill" in said.lower() or "signal 9" in said.lower()
    assert "again" in said.lower() or "retry" in said.lower() or "next call" in said.lower()
    assert "new" in text_of(front.call("echo", {"text": "new"}))
    assert worker_of(world) != old


def test_a_front_killed_in_mid_call_leaves_the_worker_to_idle_out(world):
    front, other = world.serve_tools(), world.serve_tools()
    start_and_wait_until_running(front, 1, "sleep_ms", {"ms": 500})
    worker = worker_of(world)
    left = exit_watch(worker)
    front.process.kill()
    front.process.wait()
    assert "alive" in text_of(other.call("echo", {"text": "alive"}))
    assert world.workers() == [worker]
    assert other.close() == 0
    assert left(10)


def test_a_tool_that_crashes_fails_its_call_only(world):
    front = world.serve_tools()
    old = (front.call("echo", {"text": "up"}), worker_of(world))[1]
    result = front.call("crash")
    assert result["isError"] is True
    assert "crash" in text_of(result)
    assert "SIGSEGV" in text_of(result) or "signal 11" in text_of(result) or "egmentation" in text_of(result)
    assert "back" in text_of(front.call("echo", {"text": "back"}))
    assert worker_of(world) != old


def test_a_tool_that_never_returns_is_cancelled_and_the_worker_replaced(world):
    world.idle = "30"
    front = world.serve_tools()
    start_and_wait_until_running(front, "h", "hang")
    old = worker_of(world)
    left = exit_watch(old)
    front.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "h", "reason": "test"}})
    assert left(30), "the worker that hangs is still there"
    assert "later" in text_of(front.call("echo", {"text": "later"}))
    assert worker_of(world) != old
    assert front.others.empty(), "a cancelled call is not answered"


def test_a_tool_that_prints_does_not_touch_the_wire(world):
    front = world.serve_tools()
    for i in range(20):
        assert not front.call("print_stdout", {"text": f'{{"jsonrpc":"2.0","id":{i}}}\n'}).get("isError")
    assert front.bad_lines == []
    assert front.others.empty()


def test_a_tool_that_throws_gives_its_message(world):
    front = world.serve_tools()
    result = front.call("throw_error", {"message": "the cable is out"})
    assert result["isError"] is True
    assert "the cable is out" in text_of(result)
    assert "fine" in text_of(front.call("echo", {"text": "fine"}))


def test_a_runtime_folder_that_cannot_be_written_is_named(world):
    world.env["XDG_RUNTIME_DIR"] = "/proc/self"  # not even root can make a folder there
    front = world.serve_tools()
    assert front.ask(request(1, "tools/list"))["result"]["tools"]
    result = front.call("echo", {"text": "a"})
    assert result["isError"] is True
    assert "/proc/self" in text_of(result)
    assert front.close() == 0


def test_a_port_in_use_is_an_error_at_start(world):
    http = world.serve_http()
    second = world.run("serve", "--http", f"127.0.0.1:{http.port}", timeout=10)
    assert second.returncode == 1
    assert str(http.port) in second.stderr and "use" in second.stderr


def test_two_users_of_other_folders_have_workers_of_their_own(world):
    other = World()
    try:
        fronts = [world.serve_tools(), other.serve_tools()]
        for front in fronts:
            front.call("echo", {"text": "a"})
        assert worker_of(world) != worker_of(other)
    finally:
        other.end()
