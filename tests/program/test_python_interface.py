"""Python files served as they are: manifests from the source, calls in the worker's Python child, and what goes wrong.

The child runs on this test's own Python, which has NumPy; no torch is needed. Each defect of the system that this
replaces has a test here that names it.
"""

import base64
import io
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time

import client
import numpy
import pytest
from client import call, request, text_of
from conftest import BIN

FILES = pathlib.Path(__file__).parent / "python"
TOOLS = FILES / "tools.py"
PYTHON = ["--python", sys.executable]


@pytest.fixture(scope="module")
def tools(shared_world):
    front = shared_world.serve(TOOLS, *PYTHON, "--model", "org/model=" + str(FILES), "--env", "GREETING=hello")
    yield front
    front.close()


def serve_text(world, text, *arguments, name="interface.py"):
    """A front of an interface whose source is given."""
    path = world.folder / name
    path.write_text(textwrap.dedent(text))
    return world.serve(path, *PYTHON, *arguments)


def refusal(world, text, name="interface.py"):
    """What serving this source says on stderr; it must end at once."""
    path = world.folder / name
    path.write_text(textwrap.dedent(text))
    done = world.run("serve", path)
    assert done.returncode == 1, (done.returncode, done.stderr)
    assert done.stdout == ""
    return done.stderr


def error_of(result):
    assert result.get("isError"), result
    return text_of(result)


def value_of(result):
    assert not result.get("isError"), text_of(result)
    return result["structuredContent"]


def tool_list(front):
    return {tool["name"]: tool for tool in front.ask(request(front.new_id(), "tools/list"))["result"]["tools"]}


def load_npy(front, uri):
    return numpy.load(io.BytesIO(base64.b64decode(front.read_resource(uri)["blob"])), allow_pickle=False)


# ---- the manifest: from the source, without running it


def test_a_manifest_needs_nothing_that_the_file_imports(world):
    """It is read from the source: neither torch nor transformers is there, and nothing of the file runs."""
    source = world.folder / "interface.py"
    source.write_text("import torch, transformers\nraise SystemExit('this must not run')\n@expose\ndef f(a: int) -> int:\n    'F.'\n")
    done = world.run("manifest", source)
    assert done.returncode == 0, done.stderr
    tool = json.loads(done.stdout)["tools"][0]
    assert tool["name"] == "f" and tool["description"] == "F."
    assert world.workers() == []


def test_a_manifest_is_kept_and_made_anew_when_a_file_it_reads_changes(world):
    cache = {"GPUMCP_CACHE": str(world.folder / "cache")}
    source, beside = world.folder / "interface.py", world.folder / "kinds.py"
    source.write_text("from kinds import Kind\n@expose\ndef f(kind: Kind) -> int: return 1\n")
    beside.write_text("import enum\nclass Kind(enum.Enum):\n    A = 'a'\n")

    def kinds():
        done = world.run("tools", source, "--json", env={**cache, "GPUMCP_PYTHON": python})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)[0]["inputSchema"]["properties"]["kind"]["enum"]

    python = sys.executable
    assert kinds() == ["a"]
    python = "/nowhere/python3"
    assert kinds() == ["a"], "the second time nothing is run for it"
    beside.write_text("import enum\nclass Kind(enum.Enum):\n    A = 'a'\n    B = 'b'\n")
    python = sys.executable
    assert kinds() == ["a", "b"]


def test_schemas_carry_types_defaults_and_what_docstrings_say(tools):
    listed = tool_list(tools)
    schema = listed["everything"]["inputSchema"]
    properties = schema["properties"]
    assert schema["required"] == ["text", "count"] and schema["additionalProperties"] is False
    assert properties["text"] == {"type": "string", "description": "What to say, over two lines."}
    assert properties["k"] == {"type": "integer", "default": 10, "description": "Neighbours."}, "a constant's name is a default too"
    assert properties["mode"]["enum"] == ["fast", "exact"] and properties["mode"]["default"] == "fast"
    assert properties["color"]["enum"] == ["red", "blue"] and properties["color"]["default"] == "red"
    point, null = properties["point"]["anyOf"]
    assert point["properties"]["x"] == {"type": "number"} and "required" not in point and null == {"type": "null"}
    assert point["description"] == "A point of the plane."
    assert properties["tree"]["anyOf"][0] == {"$ref": "#/$defs/Node"}
    assert schema["$defs"]["Node"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert properties["weights"]["items"] == {"type": "number"}
    assert properties["either"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert properties["limits"]["additionalProperties"] == {"type": "integer"}
    assert listed["everything"]["description"].startswith("Takes every kind of parameter.\n\nAnd says what arrived.")
    assert "Args" not in listed["everything"]["description"]

    numpy_style = listed["numpy_style"]
    assert numpy_style["inputSchema"]["properties"]["b"] == {"type": "number", "default": 2.0, "description": "The second factor."}
    assert numpy_style["description"].startswith("Multiplies.") and "-----" not in numpy_style["description"]
    sphinx = listed["sphinx_style"]["inputSchema"]["properties"]
    assert sphinx["a"]["description"] == "The first summand."
    assert sphinx["b"]["description"] == "The second summand, over two lines."
    assert "context" not in listed["wait"]["inputSchema"]["properties"], "a Context is passed in"


def test_star_parameters_and_async_functions_are_listed(tools):
    """The origin made *args and **kwargs required parameters of these names, and dropped async functions."""
    many = tool_list(tools)["many"]["inputSchema"]
    assert many["properties"] == {"texts": {"type": "array", "default": [], "items": {"type": "string"}}}
    assert "required" not in many and many["additionalProperties"] == {"type": "boolean"}
    assert "wait" in tool_list(tools)
    assert value_of(tools.call("many", {"texts": ["a", "b"], "loud": True})) == {"result": "('a', 'b') {'loud': True}"}


@pytest.mark.parametrize("source, line, words", [
    ("@expose\ndef f(a: Tensor2):\n    pass\n", 2, "Tensor2 is no type"),
    ("import sklearn.base\n@expose\ndef f(a: sklearn.base.BaseEstimator): pass\n", 3, "comes from the module sklearn"),
    ("import typing\n\n@expose\ndef f(a: typing.Callable[[int], int]): pass\n", 4, "cannot send a Callable"),
    ("@expose\ndef f(a: complex): pass\n", 2, "cannot send a complex"),
    ("@expose\ndef f(a: dict[tuple, int]): pass\n", 2, "keys are texts"),
    ("class Plain:\n    pass\n\n@expose\ndef f(a: Plain): pass\n", 5, "no fields"),
    ("@expose\ndef f(): pass\n\n@expose\ndef f(): pass\n", 5, "exposed twice; the other is in line 2"),
    ("class A:\n    @expose\n    def f(self): pass\n", 3, "is a method"),
    ("@expose(speed=3)\ndef f(): pass\n", 1, "takes no speed"),
    ("@expose(concurrency=0)\ndef f(): pass\n", 2, "1 to 256"),
    ("@expose\ndef f():\n    yield 1\n", 2, "is a generator"),
    ("def f(): pass\n", 1, "exposes nothing"),
    ("x = 1\ndef f(:\n", 2, "is no Python"),
    ("@expose\ndef ünï(): pass\n", 2, "is no name for a tool"),
])
def test_what_cannot_be_served_is_refused_with_file_and_line(world, source, line, words):
    said = refusal(world, source)
    assert f"interface.py:{line}: " in said and words in said, said


def test_a_file_that_is_missing_says_so(world):
    done = world.run("serve", world.folder / "nowhere.py")
    assert done.returncode == 1 and "nowhere.py" in done.stderr


def test_listing_starts_no_python(world):
    front = serve_text(world, "@expose\ndef f() -> int:\n    return 1\n")
    assert "f" in tool_list(front)
    assert world.workers() == []
    assert front.close() == 0


# ---- calls


def test_arguments_arrive_as_the_annotated_types(tools):
    got = value_of(tools.call("everything", {
        "text": "hi", "count": 2, "color": "blue", "point": {"x": 1}, "tree": {"value": 1, "children": [{"value": 2}]},
        "weights": [1, 2.5], "either": "three", "limits": {"a": 1}}))
    assert got == {"text": "hi", "count": 2, "k": 10, "mode": "fast", "color": "Color.BLUE", "point": {"x": 1.0},
                   "tree": "Node/Node", "weights": [1.0, 2.5], "either": "three", "limits": {"a": 1}}


@pytest.mark.parametrize("arguments, words", [
    ({"count": 1}, "text"), ({"text": 1, "count": 1}, "text"), ({"text": "a", "count": "1"}, "count"),
    ({"text": "a", "count": 1, "color": "green"}, "color"), ({"text": "a", "count": 1, "surprise": 1}, "surprise"),
    ({"text": "a", "count": 1, "tree": {"value": 1, "children": [{"value": "x"}]}}, "tree"),
])
def test_wrong_arguments_are_told_before_the_function_runs(tools, arguments, words):
    assert words in error_of(tools.call("everything", arguments))


def test_module_state_and_neighbouring_files(tools):
    first = value_of(tools.call("count_calls"))["result"]
    assert value_of(tools.call("count_calls"))["result"] == first + 1
    assert value_of(tools.call("path_of", {"model": "org/model"}))["result"] == str(FILES), \
        "get_model_path is known in imported files too (the origin's was not)"
    assert value_of(tools.call("models"))["result"] == ["org/model"]
    assert value_of(tools.call("environment", {"name": "GREETING"}))["result"] == "hello"


def test_a_missing_model_names_where_it_was_looked_for(tools):
    said = error_of(tools.call("path_of", {"model": "org/absent"}))
    assert "org/absent" in said and "gpumcp pull" in said


def test_an_exception_is_told_with_the_authors_line_and_no_traceback(tools):
    """The origin sent whole tracebacks to its callers."""
    said = error_of(tools.call("fail"))
    assert said.startswith("LookupError: nothing under that name") and "neighbour.py, line" in said
    assert "Traceback" not in said and str(FILES) not in said
    assert "calls sys.exit" in error_of(tools.call("leave"))
    assert value_of(tools.call("sphinx_style", {"a": 1, "b": 2}))["result"] == 3, "the process lives on"


def test_calls_say_what_they_cost(tools):
    tools.call("numpy_style", {"a": 1})
    usage = tools.call("sleep", {"seconds": 0.2})["_meta"]["gpumcp/usage"]
    assert usage["gpu_ms"] >= 200 and usage["cold"] is False and usage["gpu_held_s"] > 0
    assert set(usage) >= {"queue_ms", "load_ms", "tokenize_ms", "gpu_ms", "batch_size", "tokens", "cold", "gpu_held_s"}


def start_all(front, tool, arguments, count):
    return [front.start(call(front.new_id(), tool, arguments)) for _ in range(count)]


def results_of(front, keys):
    return [value_of(front.finish(key)["result"])["result"] for key in keys]


def test_calls_run_together_where_the_author_allows(tools):
    """The origin served one request after the other: four calls of one second took four."""
    tools.call("sphinx_style", {"a": 1, "b": 1})
    begin = time.monotonic()
    assert max(results_of(tools, start_all(tools, "together", {"seconds": 0.5}, 4))) == 4
    assert time.monotonic() - begin < 1.6, "four calls of 0.5 s that may run together"
    assert max(results_of(tools, start_all(tools, "together", {"seconds": 0.05}, 12))) == 4, "never more than it says"
    assert max(results_of(tools, start_all(tools, "alone", {"seconds": 0.05}, 4))) == 1
    begin = time.monotonic()
    assert set(results_of(tools, start_all(tools, "wait", {"seconds": 0.5}, 10))) == {"waited"}
    assert time.monotonic() - begin < 3, "async functions wait together"


def test_a_long_call_holds_up_nothing_else(tools):
    """The origin's answer to a GET came when the call before it was done."""
    key = tools.start(call(tools.new_id(), "sleep", {"seconds": 3}))
    begin = time.monotonic()
    tool_list(tools)
    assert value_of(tools.call("wait", {"seconds": 0.01}))["result"] == "waited"
    assert time.monotonic() - begin < 2
    assert value_of(tools.finish(key)["result"])["result"] == "slept"


@pytest.mark.parametrize("tool, arguments", [("wait", {"seconds": 0.2}), ("sleep", {"seconds": 0.1})])
def test_progress_reaches_the_caller(tools, tool, arguments):
    while not tools.others.empty():
        tools.others.get()
    tools.call(tool, arguments, progressToken="token-1")
    told = []
    while not tools.others.empty():
        message = tools.others.get()
        if message.get("method") == "notifications/progress":
            assert message["params"]["progressToken"] == "token-1"
            told.append(message["params"])
    assert any(p.get("message") in ("step 1", "sleeping") for p in told), told
    numbers = [p["progress"] for p in told]
    assert numbers == sorted(set(numbers)), "progress only grows"


@pytest.mark.parametrize("tool, arguments", [("sleep", {"seconds": 30}), ("wait", {"seconds": 30}), ("together", {"seconds": 30}),
                                             ("stubborn", {})])
def test_cancellation_ends_the_function_itself(world, tool, arguments):
    front = world.serve(TOOLS, *PYTHON)
    pid = value_of(front.call("pid"))["result"]
    front.start(call("doomed", tool, arguments, progressToken="p"))
    front.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "doomed"}})
    begin = time.monotonic()
    if tool != "together":  # a pool's thread ends when its sleep does
        assert value_of(front.call("alone", {"seconds": 0}))["result"] == 1
        assert time.monotonic() - begin < 5
        assert value_of(front.call("pid"))["result"] == pid, "only the call ended"
    front.close()


def test_a_function_may_have_a_time_limit(tools):
    begin = time.monotonic()
    assert "timed out after 0.3 s" in error_of(tools.call("limited"))
    assert time.monotonic() - begin < 5


# ---- results


def test_vectors_go_by_reference_unless_asked_for(tools):
    """The origin put 62 KB of numbers into the agent's context for one embedding."""
    result = tools.call("returns", {"what": "vector"})
    got = value_of(result)
    assert got["embedding"]["shape"] == [3584] and got["embedding"]["dtype"] == "float64"
    assert len(got["embedding"]["preview"]) == 10 and len(got["preview"]) == 10
    assert len(json.dumps(result["structuredContent"])) < 1024 and len(text_of(result)) < 1024
    link = [part for part in result["content"] if part["type"] == "resource_link"][0]
    assert link["uri"] == got["embedding"]["uri"] and link["mimeType"] == "application/x-npy"
    expected = numpy.array([i / 7 for i in range(3584)])
    assert (load_npy(tools, link["uri"]) == expected).all()
    assert value_of(tools.call("total", {"array": link["uri"]}))["result"] == pytest.approx(expected.sum()), "a URI goes in again"
    whole = value_of(tools.call("returns", {"what": "vector", "output": "inline"}))
    assert whole["embedding"] == [i / 7 for i in range(3584)]


def test_a_file_in_the_workspace(world):
    workspace = world.folder / "work"
    front = world.serve(TOOLS, *PYTHON, "--workspace", workspace)
    got = value_of(front.call("array", {"shape": [4, 25], "output": "file"}))["array"]
    assert pathlib.Path(got["path"]).parent == workspace
    assert numpy.load(got["path"]).tolist() == numpy.arange(100, dtype="float32").reshape(4, 25).tolist()
    front.close()


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64", "bool", "uint8"])
def test_arrays_keep_their_type_and_shape(tools, dtype):
    got = value_of(tools.call("array", {"shape": [3, 5, 7], "dtype": dtype}))["array"]
    array = load_npy(tools, got["uri"])
    assert array.shape == (3, 5, 7) and array.dtype == dtype and got["dtype"] == dtype
    assert (array == numpy.arange(105).astype(dtype).reshape(3, 5, 7)).all()


@pytest.mark.parametrize("what, words", [
    ("nan", "result.loss is NaN"), ("cycle", "contains itself"), ("deep", "nested more than"), ("object", "result.inner[0] is a object"),
    ("lambda", "is a function"), ("complex", "[value.real, value.imag]"), ("same keys", "two keys that are '1'"),
    ("tuple keys", "a key of type tuple"), ("digits", "digits"),
])
def test_what_json_cannot_carry_is_a_clear_error(tools, what, words):
    """The origin answered 200 with an empty body, or with text that was no JSON."""
    said = error_of(tools.call("returns", {"what": what}))
    assert said.startswith("returns ran, but its result cannot be sent: ") and words in said, said


def test_what_json_hardly_carries_arrives_in_a_form_of_its_own(tools):
    def get(what, **more):
        return value_of(tools.call("returns", {"what": what, **more}))

    assert get("set") == {"result": ["a", "b", "c"]}
    assert get("int keys") == {"1": "one", "2": "two"}
    assert get("enum") == {"result": "blue"} and get("none") == {"result": None}
    assert get("dataclass") == {"value": 1, "children": [{"value": 2, "children": []}]}
    assert get("surrogate") == {"result": "? alone"}
    assert get("huge integer")["result"] == pytest.approx(1e30)
    nan = load_npy(tools, get("nan list")["losses"]["uri"])
    assert nan[0] == 1 and numpy.isnan(nan[1]) and numpy.isinf(nan[2])
    got = get("bytes")
    assert base64.b64decode(tools.read_resource(got["uri"])["blob"]) == b"\x00\x01\x02" * 100
    assert get("bytes", output="inline") == {"base64": base64.b64encode(b"\x00\x01\x02" * 100).decode(), "bytes": 300}
    assert get("png")["picture"]["mime_type"] == "image/png"
    assert get("matrix")["shape"] == [10, 10]
    assert get("matrix", output="inline")["result"][9] == [90 + j for j in range(10)]


def test_text_is_never_empty_and_never_a_bare_array(tools):
    for what, shown in (("text", "just a text"), ("array text", '{"result":"[1, 2, 3]"}'), ("empty", '{"result":""}'), ("none", "done")):
        assert text_of(tools.call("returns", {"what": what})) == shown


def test_a_huge_result_is_kept_and_pointed_to(tools):
    rows = value_of(tools.call("returns", {"what": "many rows"}))
    assert len(json.dumps(rows)) < 1024 and rows["mime_type"] == "application/json"
    contents = tools.read_resource(rows["uri"])
    assert json.loads(base64.b64decode(contents["blob"]))["result"][1999] == {"row": 1999, "name": "row 1999"}
    words = value_of(tools.call("returns", {"what": "long text"}))
    assert words["preview"].startswith("word word") and words["bytes"] == 100_000
    assert "carries up to 6 MB" in error_of(tools.call("returns", {"what": "too much", "output": "inline"}))


# ---- the process behind it


@pytest.mark.parametrize("how, words", [("kill", "signal 9"), ("segfault", "signal 11"), ("exit", "exited with code 7")])
def test_a_child_that_dies_fails_its_calls_and_is_started_anew(world, how, words):
    front = world.serve(TOOLS, *PYTHON)
    before = value_of(front.call("pid"))["result"]
    waiting = front.start(call(front.new_id(), "wait", {"seconds": 30}))
    said = error_of(front.call("die", {"how": how}))
    assert "die failed: the Python process of tools.py" in said and words in said and "Call again" in said, said
    assert words in error_of(front.finish(waiting)["result"]), "the others that ran there hear of it too"
    assert value_of(front.call("pid"))["result"] != before
    assert len(world.workers()) == 1, "the worker itself lives on"
    front.close()


def test_the_worker_takes_its_child_with_it(world):
    front = world.serve(TOOLS, *PYTHON)
    child = value_of(front.call("pid"))["result"]
    ended = client.exit_watch(child)
    os.kill(world.workers()[0], signal.SIGKILL)
    assert ended(5), "the child ends with a worker that is killed"
    # A call may still meet the dead worker's connection, and is told so; the one after it finds a new one.
    result = client.wait_until(lambda: (lambda r: None if r.get("isError") else r)(front.call("pid")), what="a new worker")
    again = value_of(result)["result"]
    ended = client.exit_watch(again)
    front.close()
    assert ended(10), "and with one that idles out"


def test_a_child_in_mid_call_ends_with_its_worker(world):
    front = world.serve(TOOLS, *PYTHON)
    child = value_of(front.call("pid"))["result"]
    ended = client.exit_watch(child)
    front.start(call("long", "sleep", {"seconds": 60}))
    os.kill(world.workers()[0], signal.SIGKILL)
    assert ended(5)
    front.close()


def test_a_crash_while_loading_shows_its_own_error(world):
    """The origin waited ten minutes for a server that was dead, and never showed why."""
    front = serve_text(world, """
        import os
        print("about to fail", flush=True)
        weights = open("/nowhere/weights.bin")

        @expose
        def f() -> int:
            return 1
        """)
    begin = time.monotonic()
    said = error_of(front.call("f"))
    assert "f was not run: interface.py could not be loaded: FileNotFoundError" in said, said
    assert "/nowhere/weights.bin" in said and "interface.py, line 4" in said
    assert time.monotonic() - begin < 20
    assert "about to fail" in log_of(world) and "Traceback" in log_of(world)
    front.close()


def test_a_hard_crash_while_loading_shows_what_was_said_last(world):
    front = serve_text(world, """
        import os
        print("CUDA error: out of memory", flush=True)
        os._exit(9)

        @expose
        def f() -> int:
            return 1
        """)
    said = error_of(front.call("f"))
    assert "exited with code 9" in said and "CUDA error: out of memory" in said, said
    front.close()


def test_readiness_is_the_workers_own_answer(world):
    """A first call waits for a slow load, however long, and hears how it goes."""
    front = serve_text(world, """
        import time
        time.sleep(2)

        @expose
        def f() -> str:
            return "loaded"
        """)
    result = front.call("f", progressToken="p")
    assert value_of(result)["result"] == "loaded"
    usage = result["_meta"]["gpumcp/usage"]
    assert usage["cold"] is True and usage["load_ms"] >= 2000 and usage["gpu_ms"] < 1000
    told = [m["params"]["message"] for m in iter(lambda: None if front.others.empty() else front.others.get(), None)
            if m.get("method") == "notifications/progress"]
    assert any("loading interface.py" in message for message in told), told
    front.close()


def test_two_interfaces_in_one_sandbox(world):
    """The origin's second serve() ended the first one's server and answered with its functions."""
    other = world.folder / "other.py"
    other.write_text("@expose\ndef other_pid() -> int:\n    import os\n    return os.getpid()\n")
    front = world.serve(TOOLS, other, *PYTHON)
    assert value_of(front.call("pid"))["result"] != value_of(front.call("other_pid"))["result"]
    assert value_of(front.call("sphinx_style", {"a": 2, "b": 3}))["result"] == 5
    assert len(world.workers()) == 1
    front.close()


def test_one_callers_session_is_not_anothers(world):
    """The origin kept steering state in module globals: one agent's changed another's answers."""
    first, second = world.serve(TOOLS, *PYTHON), world.serve(TOOLS, *PYTHON)
    first.call("remember", {"value": "mine"})
    assert value_of(second.call("recall"))["result"] is None
    second.call("remember", {"value": "other"})
    assert value_of(first.call("recall"))["result"] == "mine"
    assert value_of(first.call("pid")) == value_of(second.call("pid")), "one process serves both"
    first.close()
    second.close()


# ---- Python, packages, secrets


def log_of(world):
    return "\n".join(path.read_text(errors="replace") for path in world.runtime.rglob("worker.log"))


def test_secrets_reach_the_function_and_nothing_else(world):
    world.env["TEST_SECRET"] = "tops3cret-value"
    front = world.serve(TOOLS, *PYTHON, "--secret", "TEST_SECRET")
    result = front.call("leak", {"name": "TEST_SECRET"})
    assert value_of(result) == {"value": "[secret TEST_SECRET]", "[secret TEST_SECRET]": 1, "inside": "<[secret TEST_SECRET]>"}
    assert error_of(front.call("leak_error", {"name": "TEST_SECRET"})).startswith("ValueError: cannot use [secret TEST_SECRET]")
    log = client.wait_until(lambda: "cannot use" in log_of(world) and log_of(world), what="the log has the error")
    assert "the value is [secret TEST_SECRET]" in log and "tops3cret-value" not in log
    for pid in world.processes():
        assert "tops3cret-value" not in " ".join(client.command_of(pid)), "no command line shows it"
    front.close()


def test_a_secret_that_is_not_there_is_told_at_once(world):
    done = world.run("serve", TOOLS, "--secret", "NO_SUCH_VARIABLE")
    assert done.returncode == 1 and "NO_SUCH_VARIABLE" in done.stderr


def test_a_python_that_is_not_there_names_those_that_are(world):
    front = world.serve(TOOLS, "--python", "3.99")
    said = error_of(front.call("pid"))
    assert "Python 3.99 is not on this machine" in said and "found: " in said and "--python" in said, said
    front.close()


def test_packages_make_one_environment(world, tmp_path):
    """A package from a folder, so that no index is asked: installed once, then found again."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "tiny_gpumcp_package.py").write_text("ANSWER = 42\n")
    wheel = make_wheel(tmp_path, "tiny_gpumcp_package")
    world.env["GPUMCP_CACHE"] = str(world.folder / "cache")
    source = f"""
        # /// script
        # dependencies = ["{wheel}"]
        # requires-python = ">=3.8"
        # ///
        import sys
        import tiny_gpumcp_package

        @expose
        def answer() -> dict:
            return {{"answer": tiny_gpumcp_package.ANSWER, "prefix": sys.prefix}}
        """
    path = world.folder / "interface.py"
    path.write_text(textwrap.dedent(source))
    front = world.serve(path)
    result = front.call("answer", progressToken="p", timeout=180)
    got = value_of(result)
    assert got["answer"] == 42 and got["prefix"].startswith(str(world.folder / "cache/environments"))
    told = [m["params"]["message"] for m in iter(lambda: None if front.others.empty() else front.others.get(), None)
            if m.get("method") == "notifications/progress"]
    assert any("virtual environment" in message or "installing" in message for message in told), told
    front.close()
    world.wait_gone()
    os.remove(wheel)  # a second installation would fail
    front = world.serve(path)
    assert value_of(front.call("answer"))["answer"] == 42
    front.close()


def make_wheel(folder, name):
    """The smallest wheel, made by hand."""
    import zipfile
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info/"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", "ANSWER = 42\n")
        file.writestr(info + "METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        file.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(info + "RECORD", f"{name}.py,,\n{info}METADATA,,\n{info}WHEEL,,\n{info}RECORD,,\n")
    return path


# ---- the scoped sandbox's introduction


def test_the_introductions_interface_runs_unchanged(world):
    model = world.folder / "gemma"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"num_hidden_layers": 42, "hidden_size": 3584, "vocab_size": 256000}))
    folder = world.folder / "intro"
    shutil.copytree(FILES / "intro", folder, ignore=shutil.ignore_patterns("__pycache__"))
    front = world.serve(folder / "interface.py", "--model", f"google/gemma-2-9b={model}")
    assert set(tool_list(front)) == {"get_model_info", "get_embedding", "compare_embeddings"}
    assert value_of(front.call("get_model_info")) == {
        "num_layers": 42, "hidden_size": 3584, "vocab_size": 256000, "device": "cpu"}
    got = value_of(front.call("get_embedding", {"text": "hello world"}))
    assert got["text"] == "hello world" and got["embedding"]["shape"] == [3584] and len(got["preview"]) == 10
    same = value_of(front.call("compare_embeddings", {"text1": "a b", "text2": "b a"}))
    assert same["similarity"] == pytest.approx(1)
    front.close()


def test_call_and_tools_take_python_files(world):
    done = world.run("call", "sphinx_style", "a=2", "b=40", "--interface", TOOLS, "--python", sys.executable)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"result": 42}
    done = world.run("tools", TOOLS)
    assert done.returncode == 0 and "numpy_style" in done.stdout
