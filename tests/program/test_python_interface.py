"""Python files served as they are: manifests from the source, and calls in the worker's Python child.

test_python_results.py has what functions return, test_python_process.py the process behind it. Each defect of the system
that this replaces has a test in one of the three that names it.
"""

import json
import shutil
import sys
import time

import pytest
from client import call
from python_files import FILES, PYTHON, TOOLS, error_of, refusal, results_of, serve_text, start_all, tool_list, value_of
from python_files import tools  # noqa: F401 (a fixture)


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
