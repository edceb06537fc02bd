"""Expose modes, as an agent's own side uses them: the module is imported by another Python, the skill's program is run."""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest
from conftest import BIN, TEST_TOOLS

FILES = pathlib.Path(__file__).parent / "python"
TOOLS = FILES / "tools.py"
PYTHON = ["--python", sys.executable]


def expose(world, interface, mode, *arguments, name="model_tools", out=None, idle="1"):
    out = out or world.folder / "out"
    done = world.run("expose", interface, "--as", mode, "--name", name, "--out", out, "--idle", idle, *arguments)
    assert done.returncode == 0, done.stderr
    return [pathlib.Path(line) for line in done.stdout.splitlines()]


def run_python(world, code, folder=None, **more):
    """Another process, as an agent runs one; what it printed last is JSON."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=folder or world.folder / "out", env={**world.env, **more},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_module_is_imported_and_called(world):
    expose(world, TOOLS, "library", *PYTHON)
    got = run_python(world, """
        import json, model_tools
        vector = model_tools.returns("vector")
        print(json.dumps([model_tools.sphinx_style(2, b=40), model_tools.everything("hi", 2, k=7, color="blue")["color"],
                          len(vector["embedding"]), vector["embedding"][3583], model_tools.many("a", loud=True) if False else "",
                          model_tools.array([2, 2])["array"], model_tools.recall(), model_tools.usage()["calls"]]))
        """)
    assert got[:4] == [42, "Color.BLUE", 3584, 3583 / 7], "arrays come in full"
    assert got[5:] == [[[0, 1], [2, 3]], None, 5]


def test_a_module_brings_types_and_docstrings(world):
    expose(world, TOOLS, "library", *PYTHON)
    folder = world.folder / "out/model_tools"
    source = (folder / "_tools.py").read_text()
    functions = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    everything = functions["everything"]
    annotations = {a.arg: ast.unparse(a.annotation) for a in everything.args.args}
    assert annotations["text"] == "str" and annotations["mode"] == "Literal['fast', 'exact']"
    assert annotations["point"] == "Optional[EverythingPoint]" and annotations["tree"] == "Optional[Node]"
    assert annotations["weights"] == "Optional[List[float]]" and annotations["either"] == "Union[int, str]"
    assert "output" not in annotations, "a module always asks for all of it"
    assert ast.unparse(functions["sphinx_style"].returns) == "int" and ast.unparse(functions["models"].returns) == "List[str]"
    doc = ast.get_docstring(everything)
    assert doc.startswith("Takes every kind of parameter.") and "count: How often." in doc
    assert (folder / "py.typed").exists()
    imported = {(node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else node.names[0].name.split(".")[0]
                for name in ("_tools.py", "_client.py", "__init__.py") for node in ast.walk(ast.parse((folder / name).read_text()))
                if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0)}
    assert imported <= set(sys.stdlib_module_names), imported
    hints = run_python(world, """
        import json, typing, inspect, model_tools
        print(json.dumps([str(inspect.signature(model_tools.numpy_style)), sorted(typing.get_type_hints(
            inspect.unwrap(model_tools.everything), vars(model_tools._tools)))]))
        """)
    assert hints[0].replace("'", "") == "(a: float, b: float = 2.0) -> float" and "color" in hints[1]


def test_a_modules_failures_are_exceptions(world):
    expose(world, TOOLS, "library", *PYTHON)
    got = run_python(world, """
        import json, model_tools
        said = []
        for attempt in (lambda: model_tools.fail(), lambda: model_tools.everything("a", "b"), lambda: model_tools.sphinx_style(1)):
            try:
                attempt()
            except Exception as e:
                said.append([type(e).__name__, isinstance(e, model_tools.GpumcpError), str(e)])
        model_tools.configure(timeout=0.5)
        try:
            model_tools.sleep(30)
        except model_tools.Timeout as e:
            said.append(["Timeout", isinstance(e, TimeoutError), str(e)])
        model_tools.configure(timeout=None)
        try:
            model_tools.die()
        except model_tools.ToolError as e:
            said.append(str(e))
        said.append(model_tools.sphinx_style(1, 2))
        print(json.dumps(said))
        """)
    assert got[0][:2] == ["ToolError", True] and "LookupError: nothing under that name" in got[0][2]
    assert got[1][:2] == ["ToolError", True] and "count" in got[1][2]
    assert got[2][0] == "TypeError", "Python itself knows the signature"
    assert got[3][:2] == ["Timeout", True] and "0.5 s" in got[3][2]
    assert "signal 9" in got[4] and got[5] == 3, "the next call finds a new process"


def test_batches_run_together_and_keep_their_order(world):
    expose(world, TOOLS, "library", *PYTHON)
    got = run_python(world, """
        import json, time, model_tools
        model_tools.count_calls()
        begin = time.monotonic()
        most = max(model_tools.batch(model_tools.together, [0.2] * 8))
        took = time.monotonic() - begin
        sums = model_tools.batch(model_tools.sphinx_style, [(i, i) for i in range(100)])
        named = model_tools.batch(model_tools.sphinx_style, [{"a": 1, "b": i} for i in range(3)])
        mixed = model_tools.batch(model_tools.path_of, ["org/none"], return_exceptions=True)
        try:
            model_tools.batch(model_tools.path_of, ["org/none", "org/none"])
            raised = None
        except model_tools.ToolError as e:
            raised = str(e)
        print(json.dumps([most, took, sums, named, type(mixed[0]).__name__, raised]))
        """)
    assert got[0] == 4 and got[1] < 1.2
    assert got[2] == [2 * i for i in range(100)] and got[3] == [1, 2, 3]
    assert got[4] == "ToolError" and "org/none" in got[5]


def test_modules_of_several_processes_share_the_worker(world):
    expose(world, TOOLS, "library", *PYTHON, idle="20")
    code = "import json, model_tools; print(json.dumps([model_tools.pid(), model_tools.count_calls()]))"
    first, second = run_python(world, code), run_python(world, code)
    assert first[0] == second[0] and [first[1], second[1]] == [1, 2]
    assert len(world.workers()) == 1
    world.run("stop")


def test_a_module_reaches_a_server_by_url(world):
    http = world.serve_http(TOOLS, *PYTHON)
    url = f"http://{http.host}:{http.port}/mcp"
    expose(world, TOOLS, "library", *PYTHON, "--url", url)
    got = run_python(world, """
        import json, model_tools
        print(json.dumps([model_tools.sphinx_style(2, 3), model_tools.batch(model_tools.sphinx_style, [(i, 1) for i in range(20)]),
                          len(model_tools.returns("vector")["embedding"])]))
        """)
    assert got == [5, list(range(1, 21)), 3584]
    http.front.close()
    failed = run_python(world, """
        import json, model_tools
        try:
            model_tools.sphinx_style(1, 2)
        except model_tools.Unavailable as e:
            print(json.dumps(str(e)))
        """)
    assert "no answer from http://" in failed


def test_a_module_is_made_anew_when_its_interface_changes(world):
    interface = world.folder / "interface.py"
    interface.write_text("@expose\ndef one() -> int:\n    return 1\n")
    expose(world, interface, "library")
    code = "import json, model_tools; print(json.dumps([model_tools.FUNCTIONS, model_tools.one()]))"
    assert run_python(world, code) == [["one"], 1]
    interface.write_text("@expose\ndef one() -> int:\n    return 11\n\n@expose\ndef two() -> int:\n    return 2\n")
    assert run_python(world, code) == [["one", "two"], 11]
    interface.write_text("@expose\ndef one(: broken\n")
    done = subprocess.run([sys.executable, "-c", "import model_tools; print(model_tools.FUNCTIONS)"], cwd=world.folder / "out",
                          env=world.env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "could not be made anew" in done.stderr and "interface.py:2" in done.stderr


def test_native_interfaces_are_exposed_too(world):
    expose(world, TEST_TOOLS, "library", name="native_tools")
    assert run_python(world, """
        import json, native_tools
        print(json.dumps([native_tools.echo("hello"), native_tools.sleep_ms(1)["cancelled"], native_tools.print_stdout("noise")]))
        """) == ["hello", False, None]


def test_embeddings_come_as_lists(world):
    expose(world, "embeddings", "library", name="embeddings")
    got = run_python(world, """
        import json, embeddings
        one = embeddings.get_embedding("hello world")
        many = embeddings.batch(embeddings.get_embedding, ["hello world", "a cat"])
        print(json.dumps([len(one["embedding"]), one["dims"], max(abs(a - b) for a, b in zip(one["embedding"], many[0]["embedding"]))]))
        """)
    assert got[:2] == [384, 384] and got[2] < 1e-5


def test_a_prompt_lists_signatures(world):
    page = expose(world, TOOLS, "prompt")[0].read_text()
    assert "import model_tools" in page
    assert "### `model_tools.numpy_style(a: float, b: float = 2.0) -> float`" in page
    assert "- `count`: How often." in page and "TypedDict" in page


def test_a_skill_has_a_client_that_works(world):
    """The origin's skill had neither a client nor an address."""
    skill = expose(world, TOOLS, "skill", *PYTHON)[0]
    assert skill == world.folder / "out/model-tools/SKILL.md"
    head = re.match(r"---\nname: ([a-z0-9-]+)\ndescription: (\".*\")\n---\n", skill.read_text())
    assert head and head[1] == "model-tools" and "sphinx_style" in json.loads(head[2])
    script = skill.parent / "scripts/call.py"

    def run(*arguments):
        return subprocess.run([sys.executable, script, *arguments], env=world.env, capture_output=True, text=True, timeout=60)

    listed = run()
    assert listed.returncode == 0 and "sphinx_style(a: int, b: int) -> int" in listed.stdout.replace("'", "")
    assert json.loads(run("sphinx_style", '{"a": 2, "b": 40}').stdout) == 42
    failed = run("fail")
    assert failed.returncode == 5 and "LookupError" in failed.stderr
    assert run("nothing").returncode == 1


def test_mcp_mode_writes_an_entry_for_each_host(world):
    written = expose(world, TOOLS, "mcp", *PYTHON, name="gpu_tools")
    assert {path.name for path in written} >= {"gpu_tools-claude-code.json", "gpu_tools-codex.toml", "gpu_tools-gemini.json"}
    entry = json.loads((world.folder / "out/gpu_tools-claude-desktop.json").read_text())["mcpServers"]["gpu-tools"]
    assert entry["args"][0] == "serve" and str(TOOLS) in entry["args"] and entry["command"] == str(BIN)
    listed = world.run("tools", "--", entry["command"], *entry["args"])
    assert listed.returncode == 0 and "sphinx_style" in listed.stdout


@pytest.mark.parametrize("arguments, words", [
    (["--as", "library", "--name", "no-module"], "no-module"), (["--as", "poem", "--name", "x"], "--as"),
    (["--as", "library", "--name", "x", "--idle", "soon"], "--idle"),
])
def test_wrong_usage_is_told(world, arguments, words):
    done = world.run("expose", TOOLS, *arguments, "--out", world.folder / "out")
    assert done.returncode == 1 and words in done.stderr
