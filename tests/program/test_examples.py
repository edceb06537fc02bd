"""The examples, as their first comments say: their servers by gpumcp and by the example client, and what that asks."""

import json
import re
import subprocess

import pytest
from client import request, text_of
from conftest import BIN, LIB, ROOT

EXAMPLES = ROOT / "examples"
PROGRAMS = BIN.parent
NAMES = ["tools", "resources", "prompts", "elicitation", "sampling", "progress", "tasks", "client"]


def client(world, *arguments, server, typed=""):
    """The example client; what its user types where it asks."""
    return subprocess.run([str(PROGRAMS / "example_client"), *arguments, "--", str(PROGRAMS / f"example_{server}")],
                          input=typed, text=True, capture_output=True, timeout=60, env=world.env)


def out(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def result(done):
    """What a typed tool returned."""
    return json.loads(out(done))["result"]


def test_every_example_is_in_the_table_and_says_how_it_is_used():
    table = (EXAMPLES / "README.md").read_text()
    folders = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1/?[\w.]*\)", table, re.M)) == folders
    for name in NAMES:
        source = (EXAMPLES / name / f"{name}.cpp").read_text()
        assert source.startswith("//") and f"example_{name}" in source.split("#include")[0]


def test_tools_take_and_give_structures_and_say_what_is_wrong(world):
    tools = world.run("tools", "--", PROGRAMS / "example_tools")
    assert "order_coffee(" in tools.stdout and "menu(" in tools.stdout, tools.stderr
    good = world.run("call", "order_coffee", "drink=espresso", "cups=2", "--", PROGRAMS / "example_tools")
    assert json.loads(good.stdout) == {"drink": "espresso", "cups": 2, "price": 3.6}
    many = world.run("call", "order_coffee", "drink=espresso", "cups=40", "--", PROGRAMS / "example_tools")
    assert many.returncode == 5 and "cups" in many.stderr and "10" in many.stderr
    milk = world.run("call", "order_coffee", "drink=cappuccino", "cups=9", "--", PROGRAMS / "example_tools")
    assert milk.returncode == 5 and "milk" in milk.stderr


def test_resources_are_listed_read_written_and_watched(world):
    seen = out(client(world, "list", server="resources"))
    assert "resource  note://  All notes" in seen and "template  note://{name}" in seen
    assert out(client(world, "read", "note://shopping", server="resources")) == "bread"
    missing = client(world, "read", "note://none", server="resources")
    assert missing.returncode == 1 and "note://none" in missing.stderr
    written = world.run("call", "write_note", "name=shopping", "text=milk", "--", PROGRAMS / "example_resources")
    assert json.loads(written.stdout) == {"result": "written"}

    server = world.pipe_to(PROGRAMS / "example_resources")
    server.ask({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}})
    server.ask({"jsonrpc": "2.0", "id": 2, "method": "resources/subscribe", "params": {"uri": "note://ideas"}})
    server.call("write_note", {"name": "ideas", "text": "a kite"})
    changed = server.other()
    assert changed["method"] == "notifications/resources/updated" and changed["params"]["uri"] == "note://ideas"
    assert server.read_resource("note://ideas")["text"] == "a kite"


def test_prompts_are_listed_filled_in_and_completed(world):
    assert "prompt    review" in out(client(world, "list", server="prompts"))
    said = out(client(world, "prompt", "review", "language=rust", server="prompts")).splitlines()
    assert said == ["user: Review the open file as a senior rust engineer would.", "assistant: Which file?"]
    missing = client(world, "prompt", "review", server="prompts")
    assert missing.returncode == 1 and "language" in missing.stderr


def test_elicitation_asks_on_the_terminal_and_takes_defaults(world):
    done = client(world, "call", "book_table", "guests=4", server="elicitation", typed="Ann\n\ngarden\n")
    assert result(done) == "a table for 4 at 19 (garden), Ann"
    assert "Who comes, and when?" in done.stderr and "[19]" in done.stderr
    assert result(client(world, "call", "book_table", "guests=4", server="elicitation")) == "no table was booked"
    paid = client(world, "call", "pay_deposit", server="elicitation", typed="y\n")
    assert result(paid) == "waiting for the payment" and "https://example.com/pay/17" in paid.stderr
    assert "free again" in result(client(world, "call", "pay_deposit", server="elicitation", typed="n\n"))


def test_sampling_borrows_the_clients_model_and_says_so_where_there_is_none(world):
    done = client(world, "call", "haiku", "about=rain", server="sampling", typed="drops, and drops again\n")
    assert result(done) == "drops, and drops again"
    assert "user: A haiku about rain." in done.stderr
    none = world.run("call", "haiku", "about=rain", "--", PROGRAMS / "example_sampling")
    assert none.returncode == 5 and "sampling" in none.stderr


def test_progress_is_reported_and_a_cancelled_count_stops(world):
    done = client(world, "call", "count", "to=3", server="progress")
    assert result(done) == 3
    assert "at 3" in done.stderr and "info" in done.stderr

    server = world.pipe_to(PROGRAMS / "example_progress")
    from client import call, request

    server.send(call("long", "count", {"to": 1000}, progressToken="p"))
    assert server.other()["params"]["progressToken"] == "p"
    server.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "long"}})
    assert server.ask(request(2, "server/discover"))["result"]["supportedVersions"]
    assert server.close() == 0  # at once: nothing counts any more


def test_a_task_says_how_far_it_is_asks_and_gives_its_outcome(world):
    done = client(world, "call", "bake", "minutes=2", server="tasks", typed="chocolate\n")
    assert result(done) == "a cake with chocolate icing"
    assert "task " in done.stderr and "Icing?" in done.stderr
    lemon = client(world, "call", "bake", "minutes=1", server="tasks", typed="\n")
    assert result(lemon) == "a cake with lemon icing"


@pytest.mark.parametrize("server", ["hello_tool", "conformance_server"])
def test_the_client_lists_any_server(world, server):
    command = [str(PROGRAMS / "example_client"), "list", "--", str(PROGRAMS / server)]
    command += ["--stdio"] if server == "conformance_server" else []
    done = subprocess.run(command, text=True, capture_output=True, timeout=60, env=world.env)
    assert out(done).splitlines()[0].endswith("2026-07-28")
    assert "tool      " in done.stdout


def test_the_client_says_what_it_lacks(world):
    for words, says in ((["list"], "which server?"), (["call", "--", "/nowhere"], "cannot start /nowhere")):
        done = subprocess.run([str(PROGRAMS / "example_client"), *words], text=True, capture_output=True, env=world.env)
        assert done.returncode == 1 and says in done.stderr


def test_steering_finds_a_direction_and_prints_what_its_page_says(world):
    page = (ROOT / "docs/steering.md").read_text()
    done = subprocess.run([str(EXAMPLES / "steering/steering.py"), str(BIN)], capture_output=True, text=True, timeout=120, env=world.env)
    printed, shown = out(done).splitlines(), re.search(r"^```\n(.*?)^```", page, re.S | re.M)[1].splitlines()
    # The texts exactly; the layers' figures may differ in their last digits on another processor.
    assert [line for line in printed if not line.startswith("layer")] == [line for line in shown if not line.startswith("layer")]
    assert sum(line.startswith("layer") for line in printed) == sum(line.startswith("layer") for line in shown) == 9
    assert "terrible" in printed[-1] and "amazing" in printed[-3]


def test_a_cuda_kernel_computes_on_a_gpu_or_says_that_there_is_none(world):
    kernel = LIB / "gpumcp/interfaces/cuda_kernel.so"
    if not kernel.exists():
        pytest.skip("built with -DGPUMCP_WITH_CUDA=ON, which scripts/test --quick leaves out")
    front = world.serve("embeddings", kernel)
    tools = front.ask(request("list", "tools/list"))["result"]["tools"]
    assert [tool["name"] for tool in tools].count("cosine_matrix") == 1
    kept = front.call("get_embeddings", {"texts": ["a cat", "a kitten", "a treaty"]})["structuredContent"]["uri"]
    result = front.call("cosine_matrix", {"a": kept, "b": kept + "?slice=0:2"})
    if result.get("isError"):  # no GPU, and the other tools live on
        assert text_of(result).startswith('device "cuda": '), result
        assert not front.call("get_embedding", {"text": "still here"}).get("isError")
    else:
        assert (result["structuredContent"]["rows"], result["structuredContent"]["columns"]) == (3, 2)
