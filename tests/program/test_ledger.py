"""The ledger: what fronts and workers write down of a run, on the built program with a Python interface."""

import json
import time

import client
import pytest

INTERFACE = '''
import time

@expose
def think(seconds: float) -> float:
    """Computes for a while."""
    time.sleep(seconds)
    return seconds

@expose
def fail() -> int:
    """Fails."""
    raise ValueError("no")
'''


@pytest.fixture
def ledger(world):
    path = world.folder / "ledger.jsonl"
    path.touch()
    world.env["GPUMCP_LEDGER"] = str(path)
    source = world.folder / "interface.py"
    source.write_text(INTERFACE)

    def lines(event):
        return [line for line in map(json.loads, path.read_text().splitlines()) if line["event"] == event]

    lines.source = source
    return lines


def test_each_call_is_a_line_with_its_share_and_the_worker_says_what_it_held(world, ledger):
    world.idle = "0.5"
    front = world.serve(ledger.source)
    front.call("think", {"seconds": 0.3})
    front.call("fail")
    begun = time.time()
    client.wait_until(lambda: any(line["left"] for line in ledger("worker")), 15, "the worker has left")
    front.call("think", {"seconds": 0.1})
    front.close()
    client.wait_until(lambda: len([line for line in ledger("worker") if line["left"]]) == 2, 15, "the second has left")
    first, failed, second = ledger("call")
    assert (first["tool"], failed["tool"], failed["failed"], first["failed"]) == ("think", "fail", True, False)
    assert first["cold"] and second["cold"] and second["begun"] >= begun
    for line, seconds in ((first, 0.3), (second, 0.1)):
        assert line["gpu_s"] >= seconds
        assert line["gpu_s"] <= line["held_s"] <= line["ended"] - line["begun"]
    workers = ledger("worker")
    assert len({line["id"] for line in workers}) == 2
    held = sum(line["held_s"] for line in workers if line["left"])
    shares = sum(line["held_s"] for line in (first, failed, second))
    assert shares <= held, "idling is on top of the shares"


def test_calls_at_once_share_the_time(world, ledger):
    front = world.serve(ledger.source)
    front.call("think", {"seconds": 0.01})
    replies = [front.start(client.call(front.new_id(), "think", {"seconds": 0.3})) for _ in range(3)]
    for reply in replies:
        front.finish(reply)
    calls = ledger("call")[1:]
    assert len(calls) == 3
    wall = max(line["ended"] for line in calls) - min(line["begun"] for line in calls)
    assert 0.8 <= sum(line["held_s"] for line in calls) <= wall + 0.1


def test_a_second_front_of_the_same_worker_writes_to_its_own_ledger(world, ledger):
    front = world.serve(ledger.source)
    front.call("think", {"seconds": 0.2})
    other = world.folder / "other.jsonl"
    other.touch()
    world.env["GPUMCP_LEDGER"] = str(other)
    second = world.serve(ledger.source)
    second.call("think", {"seconds": 0.1})
    lines = [json.loads(line) for line in other.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["worker", "call"]
    assert lines[0]["held_s"] >= 0.2, "what it had held before is where this one's bill begins"
    assert len(ledger("call")) == 1


def test_without_a_ledger_nothing_is_written(world, ledger):
    del world.env["GPUMCP_LEDGER"]
    front = world.serve(ledger.source)
    front.call("think", {"seconds": 0})
    assert ledger("call") == [] and ledger("worker") == []
