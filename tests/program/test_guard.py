"""What a worker sees to in every call, whatever interface it is of: words that agents must not see, and the time it may take."""

import json
import os
import textwrap

import client
import pytest
from client import call
from conftest import TEST_TOOLS
from python_files import PYTHON, error_of, value_of

TELLING = """
    import json, os
    from gpumcp import Context

    @expose
    def tell(context: Context) -> dict:
        for what in (os.environ["TEST_SECRET"], get_model_path("org/secret-9b"), "org--secret-9b and secret-9b"):
            context.progress(context.session.setdefault("n", 0) + 1, 9, "at " + what)
            context.session["n"] += 1
            context.log("logged " + what, "error")
        return {"path": get_model_path("org/secret-9b"), "key": os.environ["TEST_SECRET"]}

    @expose
    def fail() -> str:
        raise ValueError(os.environ["TEST_SECRET"] + " of secret-9b")
    """


@pytest.mark.parametrize("how", ["serve", "worker"])
def test_no_hidden_name_and_no_secret_leaves_in_progress_logs_results_or_errors(world, how):
    model = world.folder / "org--secret-9b"
    model.mkdir()
    (model / "config.json").write_text("{}")
    world.env["TEST_SECRET"] = 'tops3cret "quoted"'
    (world.folder / "telling.py").write_text(textwrap.dedent(TELLING))
    words = [world.folder / "telling.py", *PYTHON, "--model", f"org/secret-9b={model}", "--hidden", "org/secret-9b",
             "--secret", "TEST_SECRET"]
    front = world.serve(*words) if how == "serve" else world.pipe("worker", *words, "--stdio")
    result = front.call("tell", progressToken="p", **{"io.modelcontextprotocol/logLevel": "debug"})
    assert value_of(result)["path"] == "model" and value_of(result)["key"] == "[secret TEST_SECRET]"
    assert "[secret TEST_SECRET] of model" in error_of(front.call("fail"))
    heard = [json.dumps(front.others.get()) for _ in range(front.others.qsize())]
    # Fronts pass progress on, no log messages.
    kinds = {"notifications/progress": "at"} if how == "serve" else {"notifications/progress": "at", "notifications/message": "logged"}
    for kind, verb in kinds.items():
        of_kind = " ".join(line for line in heard if kind in line)
        assert f"{verb} model and model" in of_kind, heard
        assert "[secret TEST_SECRET]" in of_kind, heard
    everything = "".join(line.decode() for line in front.lines)
    for word in ("tops3cret", "secret-9b", str(model)):
        assert word not in everything, word
    front.close()


def test_a_hidden_models_name_is_kept_from_whoever_waits_for_its_loading(world):
    (world.folder / "broken.py").write_text("raise RuntimeError('cannot load ' + get_model_path('org/secret-9b'))\n@expose\ndef f() -> int:\n    return 1\n")
    front = world.serve(world.folder / "broken.py", *PYTHON, "--model", f"org/secret-9b={world.folder}", "--hidden", "org/secret-9b")
    said = error_of(front.call("f", progressToken="p"))
    assert "cannot load model" in said and str(world.folder) not in said, said
    front.close()


def test_a_native_tool_that_takes_longer_than_it_may_is_stopped_and_says_so(world):
    front = world.serve(TEST_TOOLS, "--call-timeout", "0.3")
    assert value_of(front.call("echo", {"text": "quick"}))
    worker = world.workers()
    said = error_of(front.call("sleep_ms", {"ms": 600_000}))
    assert said == "sleep_ms failed: it took longer than the 0.3 s that a call may take", said
    assert error_of(front.call("sleep_ms", {"ms": 600_000}, **{"gpumcp/deadline_ms": 50})).endswith("0.05 s that a call may take")
    assert value_of(front.call("echo", {"text": "again"})) and world.workers() == worker, "the worker lives on"
    front.close()


def test_a_native_tool_that_ignores_its_limit_is_answered_for_and_its_worker_replaced(world):
    front, other = (world.serve(TEST_TOOLS, "--cancel-grace", "0.3") for _ in range(2))
    worker = value_of(front.call("pid"))
    beside = other.start(call(other.new_id(), "sleep_ms", {"ms": 3000}))
    client.wait_until(lambda: "2 calls" not in world.run("status").stdout and "1 call" in world.run("status").stdout, 10, "it runs")
    said = error_of(front.call("hang", **{"gpumcp/deadline_ms": 200}))
    assert said.startswith("hang failed: it took longer than the 0.2 s that a call may take and does not end"), said
    assert value_of(other.finish(beside)["result"])["ms"] >= 3000, "what ran beside it has ended by itself"
    # A call that the old one has begun in its last moment may be lost with it.
    client.wait_until(lambda: (lambda r: not r.get("isError") and value_of(r) != worker)(front.call("pid")), 20, "another worker answers")
    front.close()
    other.close()


# ---- packages of the system

DPKG = """#!/bin/sh
for last; do :; done
[ -e "$STATE/$last" ] && { printf 'installed 1.0\\n'; exit 0; }
echo "no packages found matching $last" >&2; exit 1
"""
APT = """#!/bin/sh
echo "$*" >> "$STATE/apt.log"
case "$*" in *update*) echo "Hit:1 somewhere"; exit 0 ;; esac
for last; do :; done
[ "$last" = unheard-of ] && { echo "E: Unable to locate package unheard-of" >&2; exit 100; }
echo "Unpacking $last ..."
touch "$STATE/$last"
"""


def with_packages(world, *there):
    """A machine whose package manager is a script."""
    tools, state = world.folder / "tools", world.folder / "state"
    tools.mkdir()
    state.mkdir()
    for name, text in (("dpkg-query", DPKG), ("apt-get", APT)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    for name in there:
        (state / name).touch()
    world.env.update(PATH=f"{tools}:{os.environ['PATH']}", STATE=str(state))
    return state / "apt.log"


def test_system_packages_that_are_there_cost_a_look(world):
    log = with_packages(world, "libsndfile1", "g++")
    front = world.serve(TEST_TOOLS, "--system-package", "libsndfile1", "--system-package", "g++")
    assert value_of(front.call("pid"))
    assert not log.exists(), "nothing was installed"
    front.close()


def test_missing_system_packages_are_installed_where_the_worker_is_root_and_callers_hear_of_it(world):
    if os.geteuid() != 0:
        pytest.skip("only root installs packages")
    log = with_packages(world, "libsndfile1")
    front = world.serve(TEST_TOOLS, "--system-package", "libsndfile1", "--system-package", "ffmpeg")
    result = front.call("echo", {"text": "x"}, progressToken="p")
    assert value_of(result)
    told = [m["params"]["message"] for m in (front.others.get() for _ in range(front.others.qsize()))
            if m.get("method") == "notifications/progress"]
    assert any("installing ffmpeg: Unpacking ffmpeg" in message for message in told), told
    lines = log.read_text().splitlines()
    assert lines[0].endswith("update") and lines[1].endswith("install -- ffmpeg") and len(lines) == 2, lines
    front.close()


def test_system_packages_that_cannot_be_had_are_named_with_the_command(world):
    if os.geteuid() != 0:
        pytest.skip("only root installs packages")
    with_packages(world)
    front = world.serve(TEST_TOOLS, "--system-package", "unheard-of")
    said = error_of(front.call("pid"))
    assert "unheard-of" in said and "Unable to locate package" in said and "sudo apt-get install unheard-of" in said, said
    front.close()


def test_a_system_packages_name_is_no_option_and_no_shell_text(world):
    for name in ("-y", "a b", "$(touch /tmp/x)", "x;y", ""):
        done = world.run("serve", TEST_TOOLS, "--system-package", name) if name else world.run("serve", TEST_TOOLS, "--system-package=")
        assert done.returncode != 0 and ("system package" in done.stderr or not name), (name, done.stderr)
    toml = world.folder / "gpumcp.toml"
    toml.write_text(f'[sandbox]\nsystem_packages = ["-o"]\n[[interface]]\nfile = "{TEST_TOOLS}"\n')
    done = world.run("serve", "--config", toml)
    assert done.returncode == 1 and 'gpumcp.toml:2: system package "-o"' in done.stderr, done.stderr


def test_where_a_provider_runs_the_worker_its_packages_are_looked_for_there(world):
    log = with_packages(world, "libsndfile1")
    front = world.serve(TEST_TOOLS, "--system-package", "libsndfile1", "--provider", "command:env WANTED={system_packages} {worker}")
    assert value_of(front.call("pid"))
    assert not log.exists()
    (world.folder / "state/libsndfile1").unlink()
    front.close()
    world.wait_gone()
    if os.geteuid() == 0:
        front = world.serve(TEST_TOOLS, "--system-package", "libsndfile1", "--provider", "command:{worker}")
        assert value_of(front.call("pid", progressToken="p"))
        assert "install -- libsndfile1" in log.read_text()
        front.close()
