"""The process of a Python file: how it ends, loads and is found again; its Python, packages and secrets."""

import os
import signal
import textwrap
import time

import client
import pytest
from client import call
from python_files import PYTHON, TOOLS, error_of, log_of, serve_text, value_of


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
