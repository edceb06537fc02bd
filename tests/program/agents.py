"""The real agent programs, from npm, against a scripted model on loopback: what tests of `gpumcp run` start."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import client
import pytest
from conftest import BIN

PACKAGES = pathlib.Path(os.environ.get("GPUMCP_TEST_AGENTS") or pathlib.Path.home() / ".cache/gpumcp/test-agents")
ENDPOINT = pathlib.Path(__file__).parent / "servers/model_endpoint.py"
PROVIDERS = ["claude", "codex", "gemini"]


def programs():
    """Where they lie. Claude Code's own link wants an install script, which tests do not run."""
    modules = PACKAGES / "node_modules"
    found = {"codex": modules / ".bin/codex", "gemini": modules / ".bin/gemini"}
    native = sorted(modules.glob("@anthropic-ai/claude-code-*/claude"))
    if native:
        found["claude"] = native[0]
    return {name: path for name, path in found.items() if path.exists()}


class Agents:
    """A home of its own for the agent programs, and a model that says what it is told."""

    def __init__(self, world):
        if set(programs()) != set(PROVIDERS):
            pytest.fail(f"the agent programs are not in {PACKAGES}: scripts/test installs them")
        self.world, self.folder = world, world.folder
        home = self.folder / "home"
        bins = home / "bin"
        bins.mkdir(parents=True)
        for name, path in programs().items():
            (bins / name).symlink_to(path)
        world.env["GPUMCP_CACHE"] = os.environ.get("GPUMCP_CACHE") or str(pathlib.Path.home() / ".cache/gpumcp")
        world.env["HOME"] = str(home)
        # The tests' own Python, for interfaces and for what the agents run.
        world.env["PATH"] = f"{bins}:{pathlib.Path(sys.executable).parent}:{world.env['PATH']}"
        for name in ("CLAUDECODE", "CLAUDE_PROJECT_DIR", "CODEX_HOME", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
            world.env.pop(name, None)
        self.log = self.folder / "turns.jsonl"
        self.endpoint = None

    def model(self, turns):
        """Starts the scripted model, and points the programs at it."""
        script = self.folder / "script.json"
        script.write_text(json.dumps(turns))
        self.endpoint = subprocess.Popen([sys.executable, str(ENDPOINT), str(script), str(self.log)], stdout=subprocess.PIPE,
                                         text=True)
        url = f"http://127.0.0.1:{int(self.endpoint.stdout.readline())}"
        self.world.env.update(ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY="sk-scripted", DISABLE_AUTOUPDATER="1",
                              CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1", GOOGLE_GEMINI_BASE_URL=url,
                              GEMINI_API_KEY="scripted", SCRIPTED_KEY="scripted")
        home = pathlib.Path(self.world.env["HOME"])
        (home / ".gemini").mkdir(exist_ok=True)
        (home / ".gemini/settings.json").write_text('{"security": {"auth": {"selectedType": "gemini-api-key"}}}')
        (home / ".codex").mkdir(exist_ok=True)
        (home / ".codex/config.toml").write_text(
            'model = "scripted"\nmodel_provider = "loop"\n[model_providers.loop]\nname = "loop"\n'
            f'base_url = "{url}/v1"\nwire_api = "responses"\nenv_key = "SCRIPTED_KEY"\n')

    def seen(self):
        """The turns that the model was asked for."""
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def results(self):
        """All texts that tools have answered, as the model saw them."""
        return "\n".join(text for turn in self.seen() for text in turn["results"])

    def start(self, *arguments):
        return subprocess.Popen([str(BIN), "run", *map(str, arguments)], env=self.world.env, stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *arguments, timeout=120):
        return self.world.run("run", *arguments, timeout=timeout)

    def end(self):
        if self.endpoint:
            self.endpoint.send_signal(signal.SIGTERM)
            self.endpoint.wait()
            self.endpoint.stdout.close()


def ledger_of(done):
    """The ledger at the end of a run with --json."""
    last = json.loads(done.stdout.splitlines()[-1])
    assert last["type"] == "gpumcp/ledger", done.stdout[-500:] + done.stderr[-2000:]
    return last["ledger"]


def wait_for_call(agents, tool, timeout=60):
    """Until a worker runs a call."""

    def running():
        status = json.loads(agents.world.run("status", "--json").stdout)
        return [one for one in status if one["calls_in_flight"] > 0]

    return client.wait_until(running, timeout, f"{tool} runs")
