"""What was wrong with the system that the scoped sandbox replaces, a test for each by name. Others look closer
(test_python_interface.py, test_expose.py, test_http.py); these say that none of it is so here.
"""

import json
import subprocess
import sys

import client
import pytest
from client import call, text_of
from conftest import BIN, ROOT

INTERFACE = '''
"""Tools of the origin's kind."""
import asyncio, gpumcp, math, threading, time
from dataclasses import dataclass
from typing import List, Literal, Optional, Union
import neighbour

BARRIER = threading.Barrier(4)

@expose
def set_target(name: str) -> str:
    """Set what later calls work on."""
    gpumcp.session()["target"] = name
    return name

@expose
def target() -> str:
    """What was set."""
    return gpumcp.session().get("target", "nothing")

@expose(concurrency=4)
def wait(seconds: float) -> float:
    """Wait.

    Args:
        seconds: How long.
    """
    time.sleep(seconds)
    return seconds

@expose(concurrency=4)
def meet() -> str:
    """Wait until four are here."""
    BARRIER.wait(60)
    return "met"

@expose
def block(seconds: float) -> float:
    """Wait alone."""
    time.sleep(seconds)
    return seconds

@expose
def typed(texts: List[str], mode: Literal["fast", "exact"] = "fast", limit: Optional[int] = None,
          key: Union[int, str] = 1, *, strict: bool = False) -> dict:
    """Typed.

    Args:
        texts: The texts.
        mode: How.
    """
    return {"count": len(texts), "mode": mode, "limit": limit, "key": key, "strict": strict}

@expose
async def later(text: str) -> str:
    """Asynchronous."""
    await asyncio.sleep(0)
    return text

@expose
def not_a_number() -> float:
    """NaN."""
    return math.nan

@expose
def no_json() -> dict:
    """What JSON has no form for."""
    return {"thing": object()}

@expose
def vector() -> dict:
    """As large as an embedding of gemma-2-9b."""
    return {"embedding": [0.123456789] * 3584}

@expose
def broken(secret: str) -> str:
    """Fail."""
    raise ValueError("the reason")

@expose
def path_in_neighbour(model: str) -> str:
    """get_model_path in an imported file."""
    return neighbour.where(model)
'''
NEIGHBOUR = "def where(model):\n    return get_model_path(model)\n"


@pytest.fixture
def served(world):
    for name in ("tools.py", "neighbour.py"):
        (world.folder / name).write_text(INTERFACE if name == "tools.py" else NEIGHBOUR)
    return world.folder / "tools.py"


def python(world, code, **more):
    return client.run_python(sys.executable, code, {**world.env, "PYTHONPATH": str(ROOT / "sandbox/python"),
                                                    "GPUMCP_PROGRAM": str(BIN), **more})


def test_one_interface_per_sandbox__a_second_serve_keeps_the_first(world, served):
    (world.folder / "other.py").write_text("@expose\ndef other() -> str:\n    '''Other.'''\n    return 'other'\n")
    said = python(world, f"""
import gpumcp
with gpumcp.ScopedSandbox() as sandbox:
    sandbox.serve({str(served)!r})
    sandbox.serve({str(world.folder / "other.py")!r})
    print(sandbox.call("later", text="first")["structuredContent"], sandbox.call("other")["structuredContent"])
""")
    assert said == "{'result': 'first'} {'result': 'other'}\n"
    world.wait_gone()


def test_readiness_race__a_crash_at_import_is_told_with_its_reason(world):
    (world.folder / "bad.py").write_text("raise RuntimeError('no such device')\n@expose\ndef f() -> int:\n    '''F.'''\n    return 1\n")
    said = python(world, f"""
import gpumcp
with gpumcp.ScopedSandbox() as sandbox:
    try:
        sandbox.serve({str(world.folder / "bad.py")!r})
    except gpumcp.GpumcpError as e:
        print("no such device" in str(e), "bad.py" in str(e))
""")
    assert said == "True True\n"


def test_single_threaded_server__others_are_answered_while_a_call_runs(world, served):
    front = world.serve(served)
    front.call("wait", {"seconds": 0})
    busy = call(front.new_id(), "block", {"seconds": 600})
    front.start(busy)
    assert front.ask(client.request(front.new_id(), "tools/list"))["result"]["tools"]
    for key in [front.start(call(front.new_id(), "wait", {"seconds": 0.1})) for _ in range(4)]:
        assert front.finish(key)["result"]["structuredContent"] == {"result": 0.1}, "none waited for the other one"
    front.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": busy["id"]}})


def test_serialisation__what_json_has_no_form_for_is_an_error_in_words(world, served):
    front = world.serve(served)
    for tool, words in (("no_json", "thing"), ("not_a_number", "NaN")):
        result = front.call(tool)
        assert result["isError"] and words.lower() in text_of(result).lower(), result


def test_serialisation__a_malformed_body_is_answered(world, served):
    http = world.serve_http(served)
    reply = http.post_raw(b'{"jsonrpc": "2.0", "id": 1, "method":')
    assert reply.status == 400 and b"-32700" in reply.body


def test_serialisation__an_embedding_does_not_fill_the_agents_context(world, served):
    result = world.serve(served).call("vector")
    assert len(json.dumps(result["structuredContent"])) < 1024 and len(text_of(result)) < 1024, "55 KB there"
    assert "gpumcp://artifacts/" in json.dumps(result["structuredContent"])


def test_schema__types_defaults_enums_items_and_docs_are_all_there(world, served):
    front = world.serve(served)
    tools = {tool["name"]: tool for tool in front.ask(client.request(front.new_id(), "tools/list"))["result"]["tools"]}
    schema = tools["typed"]["inputSchema"]
    properties = schema["properties"]
    assert properties["texts"]["items"]["type"] == "string" and properties["texts"]["description"] == "The texts."
    assert properties["mode"]["enum"] == ["fast", "exact"] and properties["mode"]["default"] == "fast"
    assert "integer" in json.dumps(properties["limit"]) and "null" in json.dumps(properties["limit"])
    assert {"integer", "string"} <= set(json.dumps(properties["key"]).replace('"', " ").split())
    assert schema["required"] == ["texts"] and properties["strict"]["type"] == "boolean", "keyword-only ones too"
    assert front.call("later", {"text": "x"})["structuredContent"] == {"result": "x"}, "async functions too"
    (world.folder / "star.py").write_text("@expose\ndef f(*args, **kw) -> int:\n    '''F.'''\n    return 1\n")
    done = world.run("manifest", world.folder / "star.py")
    assert "required" not in json.loads(done.stdout)["tools"][0]["inputSchema"], "never required parameters `args` and `kw`"


def test_codegen__the_module_imports_and_takes_every_kind_of_argument(world, served):
    done = world.run("expose", served, "--as", "library", "--name", "model_tools", "--out", world.folder / "out")
    assert done.returncode == 0, done.stderr
    said = client.run_python(sys.executable, "import model_tools; print(model_tools.typed(['a'], mode='exact', strict=True)['mode'], "
                             "model_tools.later('y'))", {**world.env, "PYTHONPATH": str(world.folder / "out")})
    assert said == "exact y\n"


def test_proxy__pings_cancellation_and_progress_work_during_a_call(world, served):
    front = world.serve(served)
    front.call("wait", {"seconds": 0})
    message = call(front.new_id(), "block", {"seconds": 600})
    front.start(message)
    client.wait_until(lambda: any(one["calls_in_flight"] for one in json.loads(world.run("status", "--json").stdout)), 15, "it runs")
    assert "result" in front.ask(client.request(front.new_id(), "tools/list"))
    front.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": message["id"]}})
    assert not front.call("block", {"seconds": 0}).get("isError"), "the call before it has let go"


def test_proxy__it_needs_no_working_folder_and_says_when_nothing_can_be_listed(world, served):
    elsewhere = world.pipe("serve", served, "--idle", "1", cwd="/")
    assert elsewhere.ask(client.request(1, "tools/list"))["result"]["tools"]
    done = world.run("serve", world.folder / "absent.py")
    assert done.returncode == 1 and "absent.py" in done.stderr, "never an empty list"


def test_security__addresses_others_can_reach_want_a_token(world, served):
    done = world.run("serve", served, "--http", "0.0.0.0:0")
    assert done.returncode == 1 and "--token-file" in done.stderr
    http = world.serve_http(served)
    evil = http.post(call(1, "wait", {"seconds": 0}), headers={"Origin": "http://evil.example"})
    assert evil.status == 403


def test_security__arguments_and_tracebacks_stay_where_they_are(world, served):
    front = world.serve(served)
    result = front.call("broken", {"secret": "hunter-two"})
    assert text_of(result).startswith("ValueError: the reason") and "Traceback" not in text_of(result)
    logs = "".join(path.read_text(errors="replace") for path in world.runtime.rglob("*.log"))
    assert "hunter-two" not in logs + front.stderr()


def test_security__nothing_of_a_request_reaches_a_shell(world, served):
    front = world.serve(served)
    proof = world.folder / "proof"
    for text in (f"$(touch {proof})", f"; touch {proof} #", f"`touch {proof}`"):
        assert front.call("later", {"text": text})["structuredContent"] == {"result": text}
        world.run("call", "later", f"text={text}", "--", BIN, "serve", served, "--idle", "1")
    assert not proof.exists()


def test_state_shared_by_all_callers__each_session_has_its_own(world, served):
    one, two = world.serve(served), world.serve(served)
    one.call("set_target", {"name": "one's"})
    assert two.call("target")["structuredContent"] == {"result": "nothing"}
    two.call("set_target", {"name": "two's"})
    assert one.call("target")["structuredContent"] == {"result": "one's"}
    assert len(world.workers()) == 1, "and they share the worker"


def test_cost__the_gpu_is_not_held_while_the_agent_thinks(world, served):
    world.idle = "0.3"
    front = world.serve(served)
    front.call("wait", {"seconds": 0})
    client.wait_until(lambda: not world.workers(), 15, "the worker has left though its agent has not")
    assert front.alive() and front.call("wait", {"seconds": 0})["structuredContent"] == {"result": 0}


def test_cost__nothing_runs_on_after_the_program_has_gone(world, served):
    code = f"import gpumcp, os; s = gpumcp.ScopedSandbox(gpumcp.SandboxConfig(idle='never')); s.serve({str(served)!r}); os._exit(1)"
    done = subprocess.run([sys.executable, "-c", code], env={**world.env, "PYTHONPATH": str(ROOT / "sandbox/python"), "GPUMCP_PROGRAM": str(BIN)},
                          stderr=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 1
    world.wait_gone()


def test_model_handling__paths_are_found_in_imported_files_and_names_do_not_collide(world, served):
    for name in ("a", "b"):
        (world.folder / name).mkdir()
    front = world.serve(served, "--model", f"org/m-1.0={world.folder / 'a'}", "--model", f"org_m/1_0={world.folder / 'b'}")
    paths = [front.call("path_in_neighbour", {"model": model})["structuredContent"]["result"] for model in ("org/m-1.0", "org_m/1_0")]
    assert paths == [str(world.folder / "a"), str(world.folder / "b")]
    missing = front.call("path_in_neighbour", {"model": "org/absent"})
    assert missing["isError"] and "gpumcp pull" in text_of(missing), "never a silent download on the GPU machine"


def test_skill_mode__it_ships_a_client_that_works(world, served):
    done = world.run("expose", served, "--as", "skill", "--name", "model_tools", "--out", world.folder / "skills")
    assert done.returncode == 0, done.stderr
    script = world.folder / "skills/model-tools/scripts/call.py"
    said = subprocess.run([sys.executable, str(script), "later", '{"text": "z"}'], env=world.env, capture_output=True, text=True, timeout=60)
    assert said.returncode == 0 and json.loads(said.stdout) == "z", said.stderr


def test_no_timeouts__a_call_may_be_given_one(world, served):
    front = world.serve(served, "--call-timeout", "0.3")
    front.call("wait", {"seconds": 0})
    result = front.call("wait", {"seconds": 600})
    assert result["isError"] and "0.3" in text_of(result)


def test_documented_names_exist(world):
    """The origin's documents named Library.from_code, LocalSession.mcp_config and others that were not there."""
    for name in ("environment.ScopedSandbox", "environment.SandboxConfig", "environment.ModelConfig", "workspace.Workspace",
                 "workspace.Library", "execution.create_local_session", "harness.run_agent"):
        module, attribute = name.split(".")
        assert python(world, f"import gpumcp.{module} as m; print(callable(m.{attribute}))") == "True\n"
    (world.folder / "helpers.py").write_text("def f():\n    '''F.'''\n")
    said = python(world, f"""
import gpumcp
session = gpumcp.create_local_session(gpumcp.Workspace(libraries=[gpumcp.Library.from_file({str(world.folder / "helpers.py")!r})]), "{world.folder}/w", "s")
print(session.mcp_config, "helpers.f()" in session.docs)
""")
    assert said == "{'mcpServers': {}} True\n"


def test_single_threaded_server__four_calls_run_at_once(world, served):
    """The origin ran them one after the other; here it is the author's choice (concurrency)."""
    front = world.serve(served)
    for key in [front.start(call(front.new_id(), "meet")) for _ in range(4)]:
        assert front.finish(key)["result"]["structuredContent"] == {"result": "met"}, "each waited for the three others"
