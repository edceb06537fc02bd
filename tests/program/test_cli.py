"""The subcommands of design section 6 as a shell sees them: output, exit codes, and entries that hosts can parse."""

import json
import os
import re

import pytest
from conftest import BIN, MINILM, TEST_TOOLS

SUBCOMMANDS = ["serve", "call", "tools", "embed", "tokenize", "generate", "models", "pull", "doctor", "manifest", "worker", "status",
               "stop", "config", "version"]
HOSTS = ["claude-desktop", "claude-code", "codex", "gemini", "vscode", "cursor"]
OK, USAGE, UNREACHABLE, TOOL_ERROR = 0, 1, 4, 5


def test_version_is_the_projects(world):
    done = world.run("version")
    assert done.returncode == OK
    assert re.search(r"\b\d+\.\d+\.\d+\b", done.stdout)


def test_help_lists_the_subcommands(world):
    done = world.run("--help")
    assert done.returncode == OK
    for name in SUBCOMMANDS:
        assert re.search(rf"\b{name}\b", done.stdout), name


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_the_help_of_each_subcommand_teaches_by_example(world, name):
    done = world.run(name, "--help")
    assert done.returncode == OK
    assert f"gpumcp {name}" in done.stdout
    assert "xample" in done.stdout


@pytest.mark.parametrize("arguments", [
    ["frobnicate"], ["serve", "--frobnicate"], ["call"], ["serve", "--idle", "soon"], ["serve", "--http", "nowhere"],
    ["config", "emacs"], ["call", "get_embedding", "--json", "{"], ["call", "get_embedding", "notkeyvalue"],
])
def test_wrong_usage_exits_with_1_and_says_why(world, arguments):
    done = world.run(*arguments)
    assert done.returncode == USAGE, done.stderr
    assert done.stderr.strip()
    assert done.stdout == ""


def test_call_prints_the_result(world):
    done = world.run("call", "get_embedding", "text=hello world", "output=ref")
    assert done.returncode == OK, done.stderr
    assert "384" in done.stdout and MINILM in done.stdout
    done = world.run("call", "get_embedding", "--json", '{"text": "hello world"}')
    assert done.returncode == OK, done.stderr
    assert "384" in done.stdout


def test_call_takes_values_as_the_schema_says(world):
    done = world.run("call", "get_embeddings", 'texts=["one", "two"]')
    assert done.returncode == OK, done.stderr
    done = world.run("call", "get_embedding", "text=5")
    assert done.returncode == OK, done.stderr


def test_call_of_a_failing_tool_exits_with_5(world):
    done = world.run("call", "get_embedding", "text=a", "output=csv")
    assert done.returncode == TOOL_ERROR
    assert "output" in done.stdout + done.stderr
    done = world.run("call", "frobnicate")
    assert done.returncode in (USAGE, TOOL_ERROR)
    assert "frobnicate" in done.stderr


def test_call_of_a_server_that_is_not_there_exits_with_4(world):
    done = world.run("call", "echo", "--url", "http://127.0.0.1:9/mcp")
    assert done.returncode == UNREACHABLE
    assert "127.0.0.1:9" in done.stderr
    done = world.run("call", "echo", "--", "/nonexistent/server")
    assert done.returncode == UNREACHABLE
    assert "/nonexistent/server" in done.stderr


def test_call_reaches_other_servers_by_command_and_by_url(world):
    done = world.run("call", "echo", "text=over a pipe", "--", BIN, "serve", TEST_TOOLS, "--idle", "1")
    assert done.returncode == OK, done.stderr
    assert "over a pipe" in done.stdout
    http = world.serve_http(TEST_TOOLS)
    done = world.run("call", "echo", "text=over http", "--url", f"http://{http.host}:{http.port}/mcp")
    assert done.returncode == OK, done.stderr
    assert "over http" in done.stdout


def test_tools_lists_names_and_arguments(world):
    done = world.run("tools")
    assert done.returncode == OK, done.stderr
    for name in ("get_embedding", "get_embeddings", "similarity", "get_model_info"):
        assert name in done.stdout
    done = world.run("tools", TEST_TOOLS)
    assert done.returncode == OK and "sleep_ms" in done.stdout
    assert world.workers() == [], "listing starts no worker"


def test_manifest_is_json_with_the_tools(world):
    for interface, tool in (("embeddings", "get_embedding"), (TEST_TOOLS, "echo")):
        done = world.run("manifest", interface)
        assert done.returncode == OK, done.stderr
        tools = {entry["name"]: entry for entry in json.loads(done.stdout)["tools"]}
        assert tools[tool]["inputSchema"]["type"] == "object"
    done = world.run("manifest", "/nonexistent/interface.so")
    assert done.returncode == USAGE and "/nonexistent/interface.so" in done.stderr


def test_status_and_stop_see_the_worker(world):
    world.idle = "60"
    assert world.run("status").returncode == OK
    front = world.serve_tools()
    front.call("echo", {"text": "a"})
    (worker,) = world.workers()
    done = world.run("status")
    assert done.returncode == OK and str(worker) in done.stdout
    assert world.run("stop").returncode == OK
    assert front.close() == 0
    world.wait_gone()
    assert world.connection_files() == []
    done = world.run("stop")
    assert done.returncode == OK, "stopping what does not run is no error"


@pytest.mark.parametrize("host", HOSTS)
def test_config_prints_an_entry_that_the_host_can_parse(world, host):
    done = world.run("config", host)
    assert done.returncode == OK, done.stderr
    if host == "codex":
        tomllib = pytest.importorskip("tomllib")
        (entry,) = tomllib.loads(done.stdout)["mcp_servers"].values()
    elif host == "claude-code" and not done.stdout.lstrip().startswith("{"):
        assert "claude mcp add" in done.stdout and str(BIN) in done.stdout
        return
    else:
        value = json.loads(done.stdout)
        (entry,) = value["servers" if host == "vscode" else "mcpServers"].values()
    assert os.path.isabs(entry["command"]) and os.access(entry["command"], os.X_OK)
    assert entry["args"][0] == "serve"


def test_config_carries_the_arguments_of_serve(world):
    done = world.run("config", "claude-desktop", TEST_TOOLS, "--idle", "5")
    assert done.returncode == OK, done.stderr
    (entry,) = json.loads(done.stdout)["mcpServers"].values()
    assert entry["args"] == ["serve", str(TEST_TOOLS), "--idle", "5"]


def test_a_model_that_is_nowhere_names_the_places_and_the_remedy(world):
    done = world.run("call", "get_embedding", "text=a", "--", BIN, "serve", "--model", "no-org/no-model", "--idle", "1")
    assert done.returncode != OK
    said = done.stdout + done.stderr
    assert "no-org/no-model" in said and "no-org--no-model" in said
    assert "gpumcp pull no-org/no-model" in said
