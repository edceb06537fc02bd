"""A front that runs while its interfaces, its gpumcp.toml or its sandbox change; and what is made of interfaces, made anew."""

import json
import os
import signal
import subprocess
import sys
import textwrap

import client
from client import call, initialize, text_of
from conftest import BIN
from python_files import PYTHON, tool_list, value_of

ONE = """
    import os, time

    @expose
    def {name}(x: int) -> int:
        "{doc}"
        return x * {factor}

    @expose
    def wait(path: str) -> str:
        "Waits for a file."
        while not os.path.exists(path):
            time.sleep(0.01)
        return "waited"

    @expose
    def pid() -> int:
        "The process."
        return os.getpid()
    """


def write(path, name="double", doc="Doubles.", factor=2):
    fresh = path.with_suffix(".new")
    fresh.write_text(textwrap.dedent(ONE.format(name=name, doc=doc, factor=factor)))
    os.replace(fresh, path)  # as editors do


def wait_for_list_changed(front):
    while True:
        message = front.other()
        if message.get("method") == "notifications/tools/list_changed":
            return


def started(front):
    """As hosts begin; they hear of changes on the same stream."""
    front.ask(initialize("begin"))
    front.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    return front


def names_when(front, wanted):
    client.wait_until(lambda: wanted in tool_list(front), 20, f"{wanted} is listed")
    return set(tool_list(front))


def test_a_running_front_notices_an_interface_that_changed(world):
    source = world.folder / "interface.py"
    write(source)
    front = started(world.serve(source, *PYTHON))
    assert set(tool_list(front)) == {"double", "wait", "pid"}
    before = value_of(front.call("pid"))["result"]
    go = world.folder / "go"
    waiting = front.start(call(front.new_id(), "wait", {"path": str(go)}))
    client.wait_until(lambda: "1 calls" in world.run("status").stdout, 10, "a call runs")
    write(source, "triple", "Triples.", 3)
    wait_for_list_changed(front)
    assert names_when(front, "triple") == {"triple", "wait", "pid"}
    assert value_of(front.call("triple", {"x": 5}))["result"] == 15
    assert value_of(front.call("pid"))["result"] != before, "new calls run in what is new"
    refused = front.ask(call(front.new_id(), "double", {"x": 1}))
    assert "error" in refused and "double" in refused["error"]["message"], refused
    go.touch()
    assert value_of(front.finish(waiting)["result"])["result"] == "waited", "what ran before the change ended there"
    client.wait_until(lambda: len(world.workers()) == 1, 15, "the worker of before has left")
    front.close()


def test_a_change_of_what_it_does_alone_reaches_calls_and_one_of_its_words_reaches_lists(world):
    source = world.folder / "interface.py"
    write(source)
    front = started(world.serve(source, *PYTHON))
    assert value_of(front.call("double", {"x": 5}))["result"] == 10
    write(source, factor=20)
    client.wait_until(lambda: value_of(front.call("double", {"x": 5}))["result"] == 100, 20, "the new body runs")
    write(source, doc="Doubles twenty times.", factor=20)
    client.wait_until(lambda: tool_list(front)["double"]["description"].startswith("Doubles twenty"), 20, "the new words are listed")
    front.close()


def test_a_change_that_cannot_be_served_changes_nothing_and_is_told(world):
    source = world.folder / "interface.py"
    write(source)
    front = started(world.serve(source, *PYTHON))
    assert value_of(front.call("double", {"x": 5}))["result"] == 10
    source.write_text("@expose\ndef double(x: 'a thing') -> int:\n    return 1\n")
    client.wait_until(lambda: "interface.py:2" in front.stderr(), 20, "it says what is wrong")
    assert "double" in tool_list(front) and value_of(front.call("double", {"x": 5}))["result"] == 10
    write(source, "mended")
    assert "mended" in names_when(front, "mended")
    front.close()


def test_a_file_that_the_interface_imports_counts_as_its_own(world):
    (world.folder / "kinds.py").write_text("import enum\nclass Kind(enum.Enum):\n    A = 'a'\n")
    (world.folder / "interface.py").write_text("from kinds import Kind\n@expose\ndef f(kind: Kind) -> str:\n    return kind.value\n")
    front = started(world.serve(world.folder / "interface.py", *PYTHON))
    assert tool_list(front)["f"]["inputSchema"]["properties"]["kind"]["enum"] == ["a"]
    (world.folder / "kinds.py").write_text("import enum\nclass Kind(enum.Enum):\n    A = 'a'\n    B = 'b'\n")
    client.wait_until(lambda: tool_list(front)["f"]["inputSchema"]["properties"]["kind"]["enum"] == ["a", "b"], 20, "the new kinds are listed")
    assert value_of(front.call("f", {"kind": "b"}))["result"] == "b"
    front.close()


def test_gpumcp_toml_may_change_too(world):
    write(world.folder / "one.py")
    write(world.folder / "two.py", "triple", "Triples.", 3)
    toml = world.folder / "gpumcp.toml"
    head = f'[sandbox]\npython = "{sys.executable}"\nidle = 1\n'
    toml.write_text(head + '[[interface]]\nfile = "one.py"\n')
    front = started(world.pipe("serve", "--config", toml))
    assert set(tool_list(front)) == {"double", "wait", "pid"}
    toml.write_text(head + '[[interface]]\nfile = "one.py"\n[[interface]]\nfile = "two.py"\n')
    assert names_when(front, "triple") == {"double", "triple", "one_wait", "one_pid", "two_wait", "two_pid"}
    assert value_of(front.call("triple", {"x": 2}))["result"] == 6
    front.close()


class Control:
    """gpumcp sandbox, which a program in another language talks to."""

    def __init__(self, world):
        self.process = subprocess.Popen([str(BIN), "sandbox"], env=world.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, op, **more):
        self.process.stdin.write(json.dumps({"op": op, **more}) + "\n")
        self.process.stdin.flush()
        while True:
            answer = json.loads(self.process.stdout.readline())
            if "progress" not in answer:
                assert answer["ok"], answer
                return answer

    def end(self):
        self.process.stdin.close()
        self.process.stdout.read()
        self.process.stdout.close()
        assert self.process.wait() == 0


def test_a_sandbox_that_serves_one_more_interface_drains_its_worker_and_its_fronts_follow(world):
    """Calls of other sessions end where they run; what comes after finds one worker with both."""
    write(world.folder / "one.py")
    write(world.folder / "two.py", "triple", "Triples.", 3)
    owner = Control(world)
    owner.ask("start", name="shared", config={"python_version": sys.executable, "idle": 30})
    owner.ask("serve", file=str(world.folder / "one.py"))
    front = started(world.pipe("serve", "--sandbox", "shared"))
    before = value_of(front.call("pid"))["result"]
    go = world.folder / "go"
    waiting = front.start(call(front.new_id(), "wait", {"path": str(go)}))
    client.wait_until(lambda: "1 calls" in world.run("status").stdout, 10, "another session's call runs")
    # load=False: with it serve() would wait for the call that runs, which ends the worker of before.
    owner.process.stdin.write(json.dumps({"op": "serve", "file": str(world.folder / "two.py"), "load": False}) + "\n")
    owner.process.stdin.flush()
    wait_for_list_changed(front)
    assert "triple" in names_when(front, "triple")
    assert value_of(front.call("triple", {"x": 2}))["result"] == 6, "new calls wait for nothing"
    go.touch()
    assert value_of(front.finish(waiting)["result"])["result"] == "waited"
    assert json.loads(owner.process.stdout.readline())["ok"]
    assert value_of(front.call("one_pid"))["result"] != before
    called = owner.ask("call", tool="one_pid", arguments={})["result"]
    assert called["structuredContent"] == value_of(front.call("one_pid")), "the owner's calls and the front's meet in one worker"
    client.wait_until(lambda: len(world.workers()) == 1, 15, "the worker of before has left")
    owner.end()
    client.wait_until(lambda: "was terminated" in text_of(front.call("triple", {"x": 1})), 20, "the front hears that it is over")
    assert world.workers() == [], "and starts no worker for it"
    front.close()


def test_a_page_or_a_skill_is_made_anew_when_its_interface_changes(world):
    source, out = world.folder / "interface.py", world.folder / "out"
    write(source)
    process = subprocess.Popen([str(BIN), "expose", str(source), "--as", "prompt", "--name", "model_tools", "--out", str(out), "--watch"],
                               env=world.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    page = out / "model_tools.md"
    try:
        assert "made anew whenever" in process.stderr.readline()
        assert "double" in page.read_text()
        write(source, "triple")
        client.wait_until(lambda: "triple" in page.read_text() and "double" not in page.read_text(), 20, "the page follows")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode in (0, 130)
