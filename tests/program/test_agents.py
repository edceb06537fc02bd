"""`gpumcp run`: real agent programs with GPU functions as MCP tools and as Python modules, their end, and the ledger."""

import json
import os
import re
import signal
import sys

import agents as agent_programs
import client
import pytest
from agents import PROVIDERS, ledger_of, wait_for_call
from conftest import ROOT

INTERFACE = '''
"""Numbers, on a GPU that this machine plays."""

import time

@expose
def scale(values: list[float], by: float = 2.0) -> dict:
    """Scale numbers.

    Args:
        values: The numbers.
        by: The factor.
    """
    return {"scaled": [value * by for value in values], "handle": "h-" + str(len(values))}

@expose
def describe(handle: str) -> dict:
    """Describe what scale gave.

    Args:
        handle: From scale.
    """
    return {"handle": handle, "kind": "numbers"}

@expose
def compute(seconds: float) -> str:
    """Compute for a while."""
    time.sleep(seconds)
    return "computed"
'''
HELPERS = '''"""Formatting, done here."""


def format_result(data: dict) -> str:
    """Format a result as lines."""
    return "\\n".join(f"* {key} = {value}" for key, value in data.items())
'''
CALL = "import numbers_gpu, helpers; print(helpers.format_result(numbers_gpu.scale([1, 2, 3], by=3)))"


@pytest.fixture
def agents(world):
    made = agent_programs.Agents(world)
    (world.folder / "numbers_gpu.py").write_text(INTERFACE)
    (world.folder / "helpers.py").write_text(HELPERS)
    made.interface = world.folder / "numbers_gpu.py"
    made.workspace = world.folder / "work"
    yield made
    made.end()


def gpu(tool, **arguments):
    return {"server": "gpumcp", "tool": tool, "arguments": arguments}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_agent_uses_the_tools_and_the_ledger_counts_its_calls(agents, provider):
    agents.model([{"text": "I scale.", "tools": [gpu("scale", values=[1, 2])]},
                  {"tools": [gpu("describe", handle={"$from": "handle"})]},
                  {"text": "They are scaled."}])
    done = agents.run(agents.interface, "--agent", provider, "--prompt", "Scale 1 and 2.", "--workspace", agents.workspace,
                      "--price", "3.6", "--json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    turns = agents.seen()
    assert [turn["turn"] for turn in turns] == [0, 1, 2], "the model was asked once a turn"
    assert any("scale" in name for name in turns[0]["tools"]), "the tools are there in the first turn"
    assert '"scaled":[2' in agents.results().replace(" ", "").replace("\\", "")
    assert "h-2" in agents.results() and "numbers" in agents.results()
    ledger = ledger_of(done)
    assert ledger["tools"] == {"describe": 1, "scale": 1} and ledger["failed"] == 0
    assert 0 <= ledger["gpu_busy_s"] <= ledger["gpu_held_by_calls_s"] <= ledger["gpu_held_s"] <= ledger["wall_s"] + 5
    assert ledger["gpu_held_by_calls_s"] > 0
    assert ledger["agent_s"] + ledger["calls_s"] == pytest.approx(ledger["wall_s"], abs=0.01)
    assert ledger["cost"] == pytest.approx(ledger["gpu_held_s"] / 1000, rel=0.01, abs=2e-6)
    assert not ledger["estimated"], "the worker left with the run and said what it held"
    for line in done.stdout.splitlines():
        assert isinstance(json.loads(line), dict)
    shown = done.stderr.splitlines()
    assert "I scale." in shown and "They are scaled." in shown
    assert any(line.startswith("→ ") and "scale" in line for line in shown), shown


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_agent_imports_the_library_and_runs_its_code_here(agents, provider):
    agents.model([{"tools": [{"shell": f"python3 -c '{CALL}'"}]}, {"text": "Done."}])
    done = agents.run(agents.interface, "--as", "library", "--library", agents.folder / "helpers.py", "--agent", provider,
                      "--prompt", "Scale, and format.", "--workspace", agents.workspace, "--json")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "* scaled = [3.0, 6.0, 9.0]" in agents.results(), agents.results()
    assert ledger_of(done)["tools"] == {"scale": 1}, "a call from the agent's own code is on the ledger"


def test_messages_are_printed_as_they_come_and_the_ledger_closes(agents):
    agents.model([{"text": "First.", "tools": [gpu("compute", seconds=0.2)]}, {"text": "Second."}])
    done = agents.run(agents.interface, "--prompt", "Go.", "--workspace", agents.workspace, "--price", "4")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    order = [next(i for i, line in enumerate(lines) if line.startswith(start))
             for start in ("# ", "First.", "→ mcp__gpumcp__compute", "← ", "Second.", "ledger", "  GPU held", "  always on")]
    assert order == sorted(order)


def test_thinking_is_not_on_the_bill(agents):
    """The agent thinks ten times as long as the worker idles: the GPU is held for the calls and one idle window each."""
    idle, thinking = 0.5, 5.0
    agents.model([{"tools": [gpu("compute", seconds=0.1)]},
                  {"think": thinking, "tools": [gpu("compute", seconds=0.1)]},
                  {"think": thinking, "text": "Done."}])
    done = agents.run(agents.interface, "--prompt", "Go.", "--workspace", agents.workspace, "--idle", idle, "--json")
    assert done.returncode == 0, done.stderr
    ledger = ledger_of(done)
    assert ledger["workers"] == 2 and not ledger["estimated"], ledger
    assert ledger["agent_s"] >= 2 * thinking
    # A worker notices that it idles a little late, and ending the interface's process takes a moment.
    slack = 3.0
    assert ledger["gpu_held_s"] <= ledger["gpu_held_by_calls_s"] + 2 * idle + slack, ledger
    assert ledger["gpu_held_by_calls_s"] <= ledger["calls_s"] + 0.1


@pytest.mark.parametrize("provider", PROVIDERS)
def test_an_interrupt_ends_everything_that_the_run_started(agents, provider):
    agents.model([{"tools": [gpu("compute", seconds=600)]}, {"text": "Never."}])
    run = agents.start(agents.interface, "--agent", provider, "--prompt", "Go.", "--workspace", agents.workspace,
                       "--cancel-grace", "1")
    wait_for_call(agents, "compute")
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, err
    assert "interrupted" in err and "GPU held" in out, "the bill comes all the same"
    assert not agents.world.processes(), "no orphans, and no worker that nobody waits for"


@pytest.mark.parametrize("idle", ["1", "never"])
def test_a_run_that_is_killed_takes_its_agent_and_all_that_it_started_along(agents, idle):
    """Of `gpumcp run` nothing can act any more: a process of its own stands by for that."""
    agents.model([{"tools": [gpu("compute", seconds=600)]}, {"text": "Never."}])
    run = agents.start(agents.interface, "--agent", "claude", "--prompt", "Go.", "--workspace", agents.workspace, "--cancel-grace", "1",
                       "--idle", idle)
    wait_for_call(agents, "compute")
    pids = agents.world.processes()
    (folder,) = {found[1] for pid in pids if (found := re.search(r"(/[\w./-]+/runs/run-\w+)", " ".join(client.command_of(pid))))}
    assert os.path.isdir(folder)
    run.kill()
    run.communicate()
    client.wait_until(lambda: not agents.world.processes(), 30, "the agent, what it started, and the worker that came with the run")
    assert not os.path.exists(folder)


def test_what_the_agent_left_running_is_ended_too(agents):
    left = agents.folder / "left.pid"
    code = f"import os, subprocess; open('{left}', 'w').write(str(subprocess.Popen(['sleep', '600'], start_new_session=True, " \
           "stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid))"
    agents.model([{"tools": [{"shell": f'python3 -c "{code}"'}]}, {"text": "Done."}])
    done = agents.run("--agent", "claude", "--shell", "--prompt", "Go.", "--workspace", agents.workspace)
    assert done.returncode == 0, done.stderr
    pid = int(left.read_text())
    client.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), 5, "the agent's background process is gone")


PROMPT = "I went to the restaurant and the food was"
EXPERIMENT = [
    {"text": "First, where does the model settle on its answer?",
     "tools": [gpu("logit_lens", text="The capital of France is", target=" Paris")]},
    {"text": "Now a direction from sad to glad, in the middle of the model.",
     "tools": [gpu("contrast_vector", positive=["I love this film.", "What a wonderful day!", "This is the best meal ever."],
                   negative=["I hate this film.", "What an awful day!", "This is the worst meal ever."], layers=[12])]},
    {"text": "A handle that steers along it.",
     "tools": [gpu("steer", vector={"$from": "uri"}, layers=[12], strength=3)]},
    {"text": "What would it say next, steered?",
     "tools": [gpu("next_tokens", text=PROMPT, top_k=5, steering=[{"handle": {"$from": "handle"}}])]},
    {"text": "And in full, steered and not.",
     "tools": [gpu("generate", prompt=PROMPT, max_new_tokens=16, temperature=0, steering=[{"handle": {"$from": "handle"}}]),
               gpu("generate", prompt=PROMPT, max_new_tokens=16, temperature=0)]},
    {"text": "At last how likely the glad ending is without steering.",
     "tools": [gpu("score_text", text=PROMPT + " absolutely wonderful.")]},
    {"text": "The direction changes what the model says; it can be used in later calls by its handle."}]


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


def told(text):
    """A transcript's calls, in order, and its results, sorted: without artifacts' ids, and each as its words and its numbers."""
    lines = [re.sub(r"[0-9a-f]{32}", "ID", line)[:140] for line in text.splitlines() if line.startswith(("→ ", "← "))]
    return [[(NUMBER.sub("#", line)[:100], [float(n) for n in NUMBER.findall(line)[:3]]) for line in some]
            for some in ([line for line in lines if line.startswith("→ ")], sorted(line for line in lines if line.startswith("← ")))]


def test_the_transcript_in_the_docs_is_what_the_program_prints(agents):
    """Six of the interpretability tools in a row, by a real agent program; numbers may differ in what a processor rounds."""
    agents.model(EXPERIMENT)
    done = agents.run("language_model", "interpretability", "--prompt", "Find a direction for gladness and show what it does.",
                      "--workspace", agents.workspace, "--price", "3.95", "--json", timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    ledger = ledger_of(done)
    assert ledger["failed"] == 0, agents.results()
    assert ledger["tools"] == {"generate": 2, "contrast_vector": 1, "logit_lens": 1, "next_tokens": 1, "score_text": 1, "steer": 1}
    steered, plain = [json.loads(text)["text"] for text in agents.seen()[5]["results"] if text.startswith("{")]
    assert steered != plain, "the handle of one call steered another"
    print(done.stderr)
    page = (ROOT / "docs/agents.md").read_text().split("## A transcript")[1]
    for (got, wanted) in zip(told(done.stderr), told(page)):
        assert [words for words, _ in got] == [words for words, _ in wanted]
        for (_, numbers), (_, in_docs) in zip(got, wanted):
            assert numbers == pytest.approx(in_docs, rel=0.02, abs=1e-6)


def test_a_failing_call_reaches_the_agent_and_the_ledger(agents):
    agents.model([{"tools": [gpu("scale", values="no list")]}, {"text": "It failed."}])
    done = agents.run(agents.interface, "--prompt", "Go.", "--workspace", agents.workspace, "--json")
    assert done.returncode == 0
    assert "arguments.values" in agents.results() and ledger_of(done)["failed"] == 1
    assert "← failed: " in done.stderr


def test_without_shell_the_agent_runs_no_commands(agents):
    agents.model([{"tools": [{"shell": "echo forbidden > proof"}]}, {"text": "Done."}])
    done = agents.run(agents.interface, "--prompt", "Go.", "--workspace", agents.workspace)
    assert done.returncode == 0, done.stderr
    assert not (agents.workspace / "proof").exists()


def test_an_agent_that_fails_says_why(agents):
    agents.model([{"status": 400, "text": "the model will not have it"}])
    done = agents.run(agents.interface, "--prompt", "Go.", "--workspace", agents.workspace)
    assert done.returncode == 5 and "the model will not have it" in done.stdout and "claude failed" in done.stderr, done
    assert "calls       0" in done.stdout
    agents.world.env["PATH"] = "/usr/bin:/bin"
    done = agents.run(agents.interface, "--prompt", "Go.", "--workspace", agents.workspace)
    assert done.returncode == 4 and "npm install -g @anthropic-ai/claude-code" in done.stderr
    done = agents.run(agents.interface, "--workspace", agents.workspace)
    assert done.returncode == 1 and "--prompt" in done.stderr


def test_servers_of_ones_own_come_along(agents):
    (agents.folder / "more.json").write_text(json.dumps({"mcpServers": {"more": {
        "command": str(agent_programs.BIN), "args": ["serve", str(agents.interface), "--name", "more"]}}}))
    agents.model([{"tools": [{"server": "more", "tool": "scale", "arguments": {"values": [5]}}]}, {"text": "Done."}])
    done = agents.run("--mcp-config", agents.folder / "more.json", "--prompt", "Go.", "--workspace", agents.workspace, "--json")
    assert done.returncode == 0, done.stderr
    assert ledger_of(done)["tools"] == {"scale": 1}


def test_prepare_lays_out_the_workspace_and_keeps_what_is_the_users(agents):
    agents.workspace.mkdir()
    (agents.workspace / "AGENTS.md").write_text("Mine.\n")
    (agents.workspace / ".mcp.json").write_text('{"mcpServers": {"mine": {"command": "x"}}}')
    arguments = [agents.interface, "--library", agents.folder / "helpers.py", "--workspace", agents.workspace, "--prepare"]
    assert agents.run(*arguments).returncode == 0
    assert set(json.loads((agents.workspace / ".mcp.json").read_text())["mcpServers"]) == {"mine", "gpumcp"}
    assert (agents.workspace / "AGENTS.md").read_text() == "Mine.\n"
    assert (agents.workspace / "helpers.py").read_text() == HELPERS
    done = agents.run(*arguments, "--as", "library", "--json")
    session = json.loads(done.stdout)
    assert "numbers_gpu.scale(values: List[float], by: float = 2.0)" in session["docs"], session["docs"]
    assert "`helpers.format_result(data: dict) -> str`: Format a result as lines." in session["docs"]
    code = f"import sys; sys.path.insert(0, '{agents.workspace}'); {CALL}"
    assert "[3.0, 6.0, 9.0]" in client.run_python(sys.executable, code, agents.world.env)
