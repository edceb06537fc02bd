"""gpumcp doctor, and gpumcp config --write."""

import json
import os

import pytest
from conftest import BIN, MINILM

OK, FAILED = 0, 1


def doctor(world, *arguments, **env):
    done = world.run("doctor", "--json", *arguments, env=env)
    report = json.loads(done.stdout)
    assert report["healthy"] == (done.returncode == OK)
    return {check["what"]: check for check in report["checks"]}


def test_doctor_finds_this_machine_in_order(world):
    checks = doctor(world)
    for what in ("program", "interfaces", "libtorch", "model store", "default model", "runtime folder"):
        assert checks[what]["verdict"] == "ok", checks[what]
    assert checks["device"]["verdict"] in ("ok", "note")
    assert world.workers() == [], "it starts no worker unless asked"
    assert world.files() == []
    done = world.run("doctor")
    assert done.returncode == OK and "ok    libtorch" in done.stdout


def test_doctor_runs_a_call_when_asked(world):
    checks = doctor(world, "--call", "--idle", "0")
    assert checks["call"]["verdict"] == "ok", checks["call"]


def test_doctor_says_what_to_do(world, tmp_path):
    checks = doctor(world, GPUMCP_CACHE=str(tmp_path), HF_HOME=str(tmp_path))
    assert checks["default model"]["verdict"] == "FAIL"
    assert f"gpumcp pull {MINILM}" in checks["default model"]["remedy"]
    long = tmp_path / ("x" * 90)
    long.mkdir(mode=0o700)
    checks = doctor(world, XDG_RUNTIME_DIR=str(long))
    assert checks["runtime folder"]["verdict"] == "FAIL" and "XDG_RUNTIME_DIR" in checks["runtime folder"]["remedy"]


def test_doctor_knows_the_hosts_that_start_this_program(world, tmp_path):
    assert doctor(world, HOME=str(tmp_path))["host"]["verdict"] == "note"
    assert write(world, tmp_path, "cursor").returncode == OK
    checks = doctor(world, HOME=str(tmp_path))
    assert checks["host"]["verdict"] == "ok" and "cursor" in checks["host"]["found"]


# --- config --write ---

FILES = {
    "claude-desktop": (".config/Claude/claude_desktop_config.json", "mcpServers"), "claude-code": (".mcp.json", "mcpServers"),
    "gemini": (".gemini/settings.json", "mcpServers"), "vscode": (".vscode/mcp.json", "servers"),
    "cursor": (".cursor/mcp.json", "mcpServers"),
}


def write(world, home, *arguments):
    env = {"HOME": str(home), "XDG_CONFIG_HOME": "", "CODEX_HOME": ""}
    return world.run("config", *arguments, "--write", env=env, cwd=home)


@pytest.mark.parametrize("host", FILES)
def test_the_entry_goes_into_the_hosts_file_and_the_rest_stays(world, tmp_path, host):
    path, member = FILES[host]
    file = tmp_path / path
    assert write(world, tmp_path, host).returncode == OK
    entry = json.loads(file.read_text())[member]["gpumcp"]
    assert entry["command"] == str(BIN) and entry["args"] == ["serve"]

    old = json.dumps({"theme": "dark", member: {"other": {"command": "x"}, "gpumcp": {"command": "old", "env": {}}}, "z": [1]})
    file.write_text(old)
    file.chmod(0o640)
    done = write(world, tmp_path, host, "--idle", "10")
    assert done.returncode == OK, done.stderr
    new = json.loads(file.read_text())
    assert list(new) == ["theme", member, "z"] and new["theme"] == "dark" and new["z"] == [1]
    assert new[member]["other"] == {"command": "x"}
    assert new[member]["gpumcp"]["args"] == ["serve", "--idle", "10"] and "env" not in new[member]["gpumcp"]
    assert file.stat().st_mode & 0o777 == 0o640
    (backup,) = file.parent.glob(file.name + ".bak-*")
    assert backup.read_text() == old and str(backup) in done.stderr

    done = write(world, tmp_path, host, "--idle", "10")
    assert "already" in done.stdout and len(list(file.parent.glob(file.name + "*"))) == 2


def test_codexs_toml_keeps_its_comments_tables_and_subtables(world, tmp_path):
    tomllib = pytest.importorskip("tomllib")
    file = tmp_path / ".codex/config.toml"
    file.parent.mkdir()
    file.write_text('model = "o9" # mine\n\n[mcp_servers.gpumcp] # old\ncommand = "old"\nargs = []\n\n# about other\n'
                    '[mcp_servers.other]\ncommand = "x"\n[mcp_servers.gpumcp.env]\nA = "b"\n')
    assert write(world, tmp_path, "codex").returncode == OK
    text = file.read_text()
    config = tomllib.loads(text)
    assert config["model"] == "o9" and "# mine" in text and "# about other\n[mcp_servers.other]" in text
    assert config["mcp_servers"]["other"] == {"command": "x"}
    assert config["mcp_servers"]["gpumcp"] == {"command": str(BIN), "args": ["serve"], "env": {"A": "b"}}
    assert write(world, tmp_path, "codex", "--name", "second").returncode == OK
    assert set(tomllib.loads(file.read_text())["mcp_servers"]) == {"gpumcp", "other", "second"}
    file.unlink()
    assert write(world, tmp_path, "codex").returncode == OK
    assert tomllib.loads(file.read_text())["mcp_servers"]["gpumcp"]["args"] == ["serve"]


@pytest.mark.parametrize("text", ['{"a": 1, // a comment\n}', "[1]", "{"])
def test_a_file_that_is_no_plain_json_is_left_alone(world, tmp_path, text):
    file = tmp_path / ".cursor/mcp.json"
    file.parent.mkdir()
    file.write_text(text)
    done = write(world, tmp_path, "cursor")
    assert done.returncode == FAILED and str(file) in done.stderr and "by hand" in done.stderr
    assert file.read_text() == text and os.listdir(file.parent) == ["mcp.json"]


def test_a_link_stays_a_link(world, tmp_path):
    real = tmp_path / "dotfiles.json"
    real.write_text("{}")
    (tmp_path / ".mcp.json").symlink_to(real)
    assert write(world, tmp_path, "claude-code").returncode == OK
    assert (tmp_path / ".mcp.json").is_symlink() and "gpumcp" in json.loads(real.read_text())["mcpServers"]
