"""The Python package gpumcp, and the example that uses it: real agents, and torch and transformers or stand-ins for them."""

import ast
import json
import os
import pathlib
import re
import subprocess
import sys

import agents as agent_programs
import client
import pytest
from conftest import BIN, LIB, ROOT

PACKAGE = ROOT / "sandbox/python"
EXAMPLE = ROOT / "examples/scoped_sandbox_intro"
STAND_INS = ROOT / "tests/program/python/intro"  # a torch and a transformers of a page each
MINILM = pathlib.Path(os.environ.get("GPUMCP_CACHE") or pathlib.Path.home() / ".cache/gpumcp") / "models/sentence-transformers--all-MiniLM-L6-v2"
FORMATTED = "import model_tools, helpers; print(helpers.format_result(model_tools.get_model_info()), " \
            "len(model_tools.get_embedding('hello world')['embedding']))"


@pytest.fixture
def agents(world):
    made = agent_programs.Agents(world)
    made.world.env.update(PYTHONPATH=str(PACKAGE), GPUMCP_PROGRAM=str(BIN), PYTHONDONTWRITEBYTECODE="1")
    yield made
    made.end()


def python(world, code, timeout=60, **env):
    return subprocess.run([sys.executable, "-c", code], env={**world.env, "PYTHONPATH": str(PACKAGE), "GPUMCP_PROGRAM": str(BIN), **env},
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)


def intro_with_stand_ins(folder):
    """The example beside a torch and a transformers that weigh nothing: interface.py itself is as it stands."""
    place = folder / "intro"
    place.mkdir()
    for name in ("interface.py", "helpers.py", "main.py"):
        (place / name).write_bytes((EXAMPLE / name).read_bytes())
    (place / "torch.py").write_bytes((STAND_INS / "torch.py").read_bytes())
    (place / "transformers").symlink_to(STAND_INS / "transformers")
    return place


def run_main(agents, main, *arguments, timeout=180):
    command = main if isinstance(main, list) else [sys.executable, str(main)]
    return subprocess.run([*command, *map(str, arguments)], env=agents.world.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=timeout)


def check_library_run(agents, done, layers, hidden):
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert f"**num_layers**: {layers}" in agents.results(), agents.results() + said
    assert agents.results().rstrip().endswith(f" {hidden}") or f" {hidden}\n" in agents.results(), agents.results()
    assert "session intro: Done." in said and "GPU held" in said and "get_embedding 1" in said
    agents.world.wait_gone()  # terminate() ends the worker, however long it might have idled


def library_script():
    return [{"text": "I run it.", "tools": [{"shell": f'python3 -c "{FORMATTED}"'}]}, {"text": "Done."}]


def tool_script(server):
    return [{"tools": [{"server": server, "tool": "get_model_info", "arguments": {}}]},
            {"tools": [{"server": server, "tool": "get_embedding", "arguments": {"text": "hello world"}}]}, {"text": "Done."}]


def test_the_intro_runs_in_library_mode(agents):
    agents.model(library_script())
    done = run_main(agents, intro_with_stand_ins(agents.folder) / "main.py", "--python", sys.executable,
                    "--model", f"google/gemma-2-9b={MINILM}", "--workspace", agents.folder / "work")
    check_library_run(agents, done, 6, 384)


@pytest.mark.parametrize("provider", ["claude", "codex"])
def test_the_intro_runs_in_mcp_mode(agents, provider):
    agents.model(tool_script("model-tools"))
    done = run_main(agents, intro_with_stand_ins(agents.folder) / "main.py", "--python", sys.executable, "--agent", provider,
                    "--as", "mcp", "--model", f"google/gemma-2-9b={MINILM}", "--workspace", agents.folder / "work")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "num_layers" in agents.results() and "hello world" in agents.results()
    assert "get_embedding 1, get_model_info 1" in done.stderr
    agents.world.wait_gone()


def test_what_was_loaded_before_the_run_is_on_its_ledger(agents):
    """serve() loads the model; the run begins later, and its bill begins with it."""
    agents.model(library_script())
    done = run_main(agents, intro_with_stand_ins(agents.folder) / "main.py", "--python", sys.executable,
                    "--model", f"google/gemma-2-9b={MINILM}", "--workspace", agents.folder / "work")
    check_library_run(agents, done, 6, 384)
    said = done.stdout + done.stderr
    before, held, wall = (float(re.search(pattern, said)[1]) for pattern in
                          (r"before it +([0-9.]+) s", r"GPU held +([0-9.]+) s", r"wall time +([0-9.]+) s"))
    assert before > 0 and held >= wall - 1, "it idles from before the run's beginning to its end, within its 60 s"


@pytest.mark.parametrize("when", ["load", "call"])
def test_a_program_that_is_killed_takes_its_agent_and_sandbox_along(agents, when):
    body = "import time\n@expose\ndef wait() -> str:\n    'Waits.'\n    time.sleep(600)\n    return 'waited'\n"
    (agents.folder / "wait.py").write_text(body + ("time.sleep(600)\n" if when == "load" else ""))
    agents.model([{"tools": [{"server": "wait", "tool": "wait", "arguments": {}}]}, {"text": "Never."}])
    code = f"""
import asyncio, gpumcp
async def main():
    sandbox = gpumcp.ScopedSandbox(gpumcp.SandboxConfig(idle="never", python_version={sys.executable!r})).start()
    tools = sandbox.serve({str(agents.folder / "wait.py")!r}, expose_as="mcp")
    print("served", flush=True)
    async for message in gpumcp.run_agent("Wait.", tools):
        pass
asyncio.run(main())
"""
    process = subprocess.Popen([sys.executable, "-c", code], env=agents.world.env, cwd=agents.folder, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    if when == "call":
        assert process.stdout.readline() == b"served\n"
    agent_programs.wait_for_call(agents, "wait")
    process.kill()
    process.communicate()
    client.wait_until(lambda: not agents.world.processes(), 60, "its agent, its sandbox and the worker have gone with it")


def test_the_cpp_twin_runs_the_same_interface(agents):
    place = intro_with_stand_ins(agents.folder)
    agents.model(library_script())
    done = run_main(agents, [str(BIN.parent / "scoped_sandbox_intro")], "--interface", place / "interface.py", "--python",
                    sys.executable, "--model", f"google/gemma-2-9b={MINILM}", "--workspace", agents.folder / "work")
    check_library_run(agents, done, 6, 384)


def test_the_cpp_twin_runs_the_cpp_interface(agents):
    library = LIB / "gpumcp/interfaces/scoped_intro.so"
    assert library.exists(), f"{library} was not built"
    agents.model(library_script())
    done = run_main(agents, [str(BIN.parent / "scoped_sandbox_intro")], "--interface", "scoped_intro",
                    "--model", f"google/gemma-2-9b={MINILM}", "--workspace", agents.folder / "work")
    check_library_run(agents, done, 6, 384)


@pytest.mark.skipif(not os.environ.get("GPUMCP_TEST_TORCH"),
                    reason="with real torch and transformers: scripts/test --thorough (an environment of 6 GB)")
@pytest.mark.parametrize("expose_as", ["library", "mcp"])
def test_the_intro_runs_with_real_torch_and_transformers(agents, expose_as):
    """In the interface's own virtual environment, made once in the cache."""
    agents.model(library_script() if expose_as == "library" else tool_script("model-tools"))
    smollm2 = MINILM.parent / "HuggingFaceTB--SmolLM2-135M-Instruct"
    done = run_main(agents, EXAMPLE / "main.py", "--as", expose_as, "--model", f"google/gemma-2-9b={smollm2}",
                    "--workspace", agents.folder / "work", timeout=1200)
    if expose_as == "library":
        check_library_run(agents, done, 30, 576)
    else:
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        assert "num_layers" in agents.results() and "49152" in agents.results()


def test_the_intros_own_function_stands_in_the_example_as_it_was_given():
    text = (EXAMPLE / "interface.py").read_text()
    assert '''model_path = get_model_path("google/gemma-2-9b")
model = AutoModel.from_pretrained(model_path, device_map="auto")
tokenizer = AutoTokenizer.from_pretrained(model_path)

@expose
def get_model_info() -> dict:
    """Get basic model information."""
    config = model.config
    return {"num_layers": config.num_hidden_layers, "hidden_size": config.hidden_size, "vocab_size": config.vocab_size, "device": str(model.device)}
''' in text


def test_the_package_needs_the_standard_library_alone_and_installs(world, tmp_path):
    for file in (PACKAGE / "gpumcp").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else \
                [node.module] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            for name in names:
                assert name.split(".")[0] in sys.stdlib_module_names, (file.name, name)
    source = tmp_path / "source"
    subprocess.run(["cp", "-r", str(PACKAGE), str(source)], check=True)
    done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target",
                           str(tmp_path / "site"), str(source)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    done = python(world, "import gpumcp; print(gpumcp.__file__, gpumcp.ScopedSandbox)", PYTHONPATH=str(tmp_path / "site"))
    assert done.stdout.startswith(str(tmp_path / "site")), done.stderr


def test_a_sandbox_from_python_serves_calls_stops_and_terminates(world):
    (world.folder / "one.py").write_text("@expose\ndef double(x: int) -> int:\n    '''Double.'''\n    return 2 * x\n")
    (world.folder / "two.py").write_text("@expose\ndef triple(x: int) -> int:\n    '''Triple.'''\n    return 3 * x\n")
    done = python(world, f"""
import json
from gpumcp import GpumcpError, SandboxConfig, ScopedSandbox
with ScopedSandbox(SandboxConfig(idle=30)) as sandbox:
    assert sandbox.status() is None, "nothing runs yet"
    one = sandbox.serve({str(world.folder / "one.py")!r})
    two = sandbox.serve({str(world.folder / "two.py")!r}, expose_as="mcp", name="second")
    print(one.name, sorted(two["second"]))
    print(sandbox.call("double", x=4)["structuredContent"], sandbox.call("triple", x=4)["structuredContent"])
    print(sandbox.call("double", x="no")["isError"])
    other = ScopedSandbox.from_id(sandbox.name)
    print(other.call("double", x=5)["structuredContent"])
    sandbox.stop()
    print(sandbox.status())
    try:
        sandbox.serve({str(world.folder / "absent.py")!r})
    except GpumcpError as e:
        print("absent" in str(e))
""")
    assert done.stdout.splitlines() == ["one ['args', 'command']", "{'result': 8} {'result': 12}", "True", "{'result': 10}", "None",
                                        "True"], done.stdout + done.stderr
    world.wait_gone()


def test_settings_that_nobody_knows_are_refused_in_words(world):
    done = python(world, "from gpumcp import *\nScopedSandbox(SandboxConfig(system_packages=['-y'])).start()")
    assert 'system package "-y"' in done.stderr
    done = python(world, "from gpumcp import *\nScopedSandbox(SandboxConfig(secrets=['NO_SUCH_VARIABLE'])).start()")
    assert "NO_SUCH_VARIABLE" in done.stderr
    done = python(world, "from gpumcp import *\nScopedSandbox().start()", GPUMCP_PROGRAM="/absent/gpumcp")
    assert "/absent/gpumcp cannot be started" in done.stderr


def test_a_sandbox_ends_with_the_program_that_started_it(world):
    (world.folder / "one.py").write_text("@expose\ndef double(x: int) -> int:\n    '''Double.'''\n    return 2 * x\n")
    process = subprocess.Popen([sys.executable, "-c", f"""
import gpumcp, sys
sandbox = gpumcp.ScopedSandbox(gpumcp.SandboxConfig(idle="never")).start()
sandbox.serve({str(world.folder / "one.py")!r})
print("serving", flush=True)
sys.stdin.read()
"""], env={**world.env, "PYTHONPATH": str(PACKAGE), "GPUMCP_PROGRAM": str(BIN)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "serving\n"
    assert world.workers()
    process.kill()
    process.communicate()
    client.wait_until(lambda: not world.processes(), 15, "its worker has gone with it")


def test_the_control_program_answers_what_it_cannot_read(world):
    done = subprocess.run([str(BIN), "sandbox"], input='no JSON\n{"op": "dance"}\n{"op": "start", "config": {"colour": 1}}\n',
                          env=world.env, capture_output=True, text=True, timeout=30)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["ok"] for answer in answers] == [False] * 3 and done.returncode == 0
    assert "colour" in answers[2]["error"]
