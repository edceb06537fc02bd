"""Workers that must go while calls run: nothing is run twice, nothing waits for ever, no successor is harmed."""

import http.client
import json
import os
import signal
import subprocess

import client
from client import call, exit_watch, text_of
from conftest import BIN
from test_front import start_and_wait_until_running, worker_of

LIMIT_BYTES = 8 << 20


def stop_in_background(world):
    """`gpumcp stop`, once it has taken the worker off the map."""
    stopping = subprocess.Popen([str(BIN), "stop"], env=world.env, stdout=subprocess.DEVNULL)
    client.wait_until(lambda: not world.connection_files(), what="the worker is off the map")
    return stopping


def test_two_calls_that_never_return_do_not_keep_the_worker(world):
    world.idle = "30"
    front = world.serve_tools()
    keys = ["a", "b"]
    for key in keys:
        start_and_wait_until_running(front, key, "hang")
    left = exit_watch(worker_of(world))
    for key in keys:
        front.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": key}})
    assert left(30), "the worker that hangs is still there"
    assert "later" in text_of(front.call("echo", {"text": "later"}))


def test_a_new_worker_starts_while_a_stopped_one_finishes_its_call(world):
    world.idle = "30"
    front = world.serve_tools()
    running = start_and_wait_until_running(front, "r", "sleep_ms", {"ms": 3000})
    old = worker_of(world)
    left = exit_watch(old)
    stopping = stop_in_background(world)
    assert not front.call("echo", {"text": "on the new one"}).get("isError")
    assert len(world.workers()) == 2
    assert front.finish(running)["result"]["structuredContent"]["cancelled"] is False
    assert left(10) and stopping.wait(20) == 0
    assert not front.call("echo", {"text": "the new one was not harmed"}).get("isError")
    assert len(world.connection_files()) == 1 and old not in world.workers()


def test_a_worker_whose_device_is_lost_is_replaced_and_its_other_calls_may_end(world):
    world.idle = "30"
    front = world.serve_tools()
    running = start_and_wait_until_running(front, "r", "sleep_ms", {"ms": 1000})
    old = worker_of(world)
    left = exit_watch(old)
    lost = front.call("lose_device")
    assert lost["isError"] and "device is lost" in text_of(lost)
    client.wait_until(lambda: not world.connection_files(), what="the worker is off the map")
    assert not front.call("echo", {"text": "on another"}).get("isError")
    assert front.finish(running)["result"]["structuredContent"]["cancelled"] is False
    assert left(10)
    assert worker_of(world) != old


def test_a_begun_call_is_not_run_again_when_its_leaving_worker_is_killed(world):
    world.idle = "30"
    front = world.serve_tools()
    running = start_and_wait_until_running(front, "r", "sleep_ms", {"ms": 60000})
    old = worker_of(world)
    stopping = stop_in_background(world)
    os.kill(old, signal.SIGKILL)
    result = front.finish(running)["result"]
    assert result["isError"] and "sleep_ms failed" in text_of(result)
    stopping.wait(30)


def test_fronts_that_differ_in_idle_time_share_a_worker_and_the_longest_counts(world):
    world.idle = "1"
    first = world.serve_tools()
    assert not first.call("echo", {"text": "a"}).get("isError")
    world.idle = "30"
    second = world.serve_tools()
    assert not second.call("echo", {"text": "b"}).get("isError")
    worker = worker_of(world)
    assert not exit_watch(worker)(2), "it stays for the longer of the two"
    assert world.workers() == [worker]


def test_a_message_just_below_the_limit_is_answered(world):
    front = world.serve_tools()
    message = call("big", "echo", {"text": ""})
    message["params"]["arguments"]["text"] = "x" * (LIMIT_BYTES - len(json.dumps(message)) - 10)
    result = front.ask(message)["result"]
    assert not result.get("isError")


def test_an_http_batch_whose_calls_are_all_cancelled_ends(world):
    http_front = world.serve_http()
    batch = [call(1, "get_embedding", {"text": "x"}, modern=False),
             {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}]
    connection = http.client.HTTPConnection(http_front.host, http_front.port, timeout=15)
    connection.request("POST", "/mcp", json.dumps(batch),
                       {"Content-Type": "application/json", "Accept": "application/json"})
    try:
        connection.getresponse().read()
    except (http.client.HTTPException, ConnectionError):
        pass  # an answer or the end of the connection; a time-out would raise
    assert http_front.front.alive()


def test_a_server_command_that_speaks_no_mcp_is_ended_with_the_call(world):
    started = subprocess.Popen([str(BIN), "tools", "--era", "modern", "--", "sh", "-c", "exec cat >/dev/null"],
                               env=world.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert started.wait(60) == 4
    client.wait_until(lambda: not world.processes(), what="its child is gone")
