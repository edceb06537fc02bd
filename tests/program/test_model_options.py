"""What is said of models' memory and idle times on the command line, and what status says of it, on the real MiniLM."""

import re

import client
import pytest
from client import text_of
from conftest import MINILM

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.mark.parametrize("options, said", [
    (["--model-idle", "soon"], "--model-idle soon: expected seconds"),
    (["--model-idle", "a/b=-1"], "--model-idle -1: expected seconds"),
    (["--warm-idle", "x"], "--warm-idle x: expected seconds"),
    (["--host-memory", "20X"], "--host-memory 20X: expected a size, as in 512M"),
    (["--device-memory", "-1G"], "--device-memory -1G: expected a size"),
])
def test_a_wrong_value_is_told_at_once(world, options, said):
    done = world.run("serve", *options)
    assert done.returncode == 1 and said in done.stderr, done.stderr


def test_a_model_that_never_fits_is_refused_with_the_limit(world):
    front = world.serve("--host-memory", "10M", "--device", "cpu")
    result = front.call("get_embedding", {"text": "hello world"})
    assert result["isError"]
    assert MINILM in text_of(result) and "10" in text_of(result), text_of(result)
    assert not front.call("get_model_info").get("isError"), "the worker lives"


def test_idle_models_leave_and_pinned_ones_stay(world):
    world.idle = "60"
    front = world.serve("embeddings", "language_model", "--device", "cpu", "--model-idle", "0.2", "--pin", MINILM)
    assert not front.call("get_embedding", {"text": "hello world"}).get("isError")
    assert not front.call("next_tokens", {"text": "hello world"}).get("isError")

    def state(model):
        shown = world.run("status").stdout
        return re.search(rf"model {re.escape(model)}  (\w+)", shown)[1]

    client.wait_until(lambda: state(SMOLLM2) != "hot", 20, "an idle model leaves the device")
    shown = world.run("status").stdout
    assert re.search(rf"model {re.escape(MINILM)}  hot, pinned  [0-9.]+ MB on cpu", shown), shown
    assert re.search(r"memory \S+: [0-9.]+ MB of [0-9.]+ [GT]B for weights: ", shown), shown
    front.close()
    assert world.run("stop").returncode == 0
    world.wait_gone()


def test_a_callers_deadline_ends_its_call_and_no_other(world):
    front = world.serve("--device", "cpu")
    late = front.call("get_embedding", {"text": "hello world"}, **{"gpumcp/deadline_ms": 0})
    assert late["isError"] and "deadline" in text_of(late), text_of(late)
    assert not front.call("get_embedding", {"text": "hello world"}, **{"gpumcp/deadline_ms": 60_000}).get("isError")
