"""The wire over stdio, byte by byte: one line of each era through a plain pipe, and everything that a line can be but
should not. No test here needs a worker, except where a tool is called.
"""

import json
import os
import signal
import subprocess

import client
import pytest
from client import LEGACY, MODERN, PREFIX, call, initialize, meta, request
from conftest import BIN


@pytest.fixture
def front(world):
    return world.serve()


def one_shot(world, *messages):
    """printf '...' | gpumcp serve: the lines that come back, after which the front ends by itself."""
    data = b"".join((m if isinstance(m, bytes) else json.dumps(m).encode()) + b"\n" for m in messages)
    done = subprocess.run([str(BIN), "serve", "--idle", "1"], input=data, env=world.env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=client.TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout == b"" or done.stdout.endswith(b"\n")
    return [json.loads(line) for line in done.stdout.splitlines()]


def error_of(message):
    assert "error" in message, message
    assert message["error"]["message"], message
    return message["error"]


@pytest.mark.parametrize("version", LEGACY)
def test_one_initialize_line_gives_one_result_line(world, version):
    (reply,) = one_shot(world, initialize(1, version))
    result = reply["result"]
    assert reply["id"] == 1 and reply["jsonrpc"] == "2.0"
    assert result["protocolVersion"] == version
    assert "tools" in result["capabilities"]
    assert result["serverInfo"]["name"] and result["serverInfo"]["version"]
    assert "resultType" not in result


def test_an_unknown_version_is_answered_with_the_latest_legacy_one(world):
    (reply,) = one_shot(world, initialize(1, "1999-01-01"))
    assert reply["result"]["protocolVersion"] == "2025-11-25"


def test_one_discover_line_gives_one_result_line(world):
    (reply,) = one_shot(world, request(7, "server/discover"))
    result = reply["result"]
    assert reply["id"] == 7
    assert MODERN in result["supportedVersions"]
    assert "tools" in result["capabilities"]
    assert result["resultType"] == "complete"
    assert isinstance(result["ttlMs"], int) and result["cacheScope"] in ("public", "private")
    assert result["_meta"][PREFIX + "serverInfo"]["name"]


@pytest.mark.parametrize("modern", [True, False])
def test_tools_list_gives_typed_tools(world, modern):
    opening = [] if modern else [initialize(0), {"jsonrpc": "2.0", "method": "notifications/initialized"}]
    reply = one_shot(world, *opening, request(1, "tools/list", modern=modern))[-1]
    tools = {tool["name"]: tool for tool in reply["result"]["tools"]}
    assert {"get_embedding", "get_embeddings", "similarity", "get_model_info"} <= set(tools)
    for tool in tools.values():
        assert tool["description"]
        assert tool["inputSchema"]["type"] == "object"
        assert tool["outputSchema"]["type"] == "object"
    text = tools["get_embedding"]["inputSchema"]["properties"]["text"]
    assert text["type"] == "string" and text["description"]
    assert tools["get_embedding"]["inputSchema"]["required"] == ["text"]
    assert ("resultType" in reply["result"]) == modern


def test_one_call_line_gives_one_result_line(front):
    reply = front.exchange(json.dumps(call("c", "get_embedding", {"text": "hello world"})).encode())
    assert reply["id"] == "c"
    assert reply["result"]["structuredContent"]["dims"] == 384
    assert len(front.lines) == 1


@pytest.mark.parametrize("raw", [
    b"{", b"nonsense", b'{"jsonrpc":"2.0","id":1,"method":"tools/list"', b'{"a":1,}', b"\x00", b'{"id":\x00}',
    b'{"jsonrpc":"2.0","id":1,"method":"to\xffols/list"}', b'{"jsonrpc":"2.0","id":1,"method":"\xed\xa0\x80"}',
    b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', b'{"jsonrpc":"2.0","id":01,"method":"x"}',
    b'{"jsonrpc":"2.0","id":1,"id":2,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"a":1,"a":2}}',
    b"[" * 100 + b"]" * 100, b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
], ids=["open brace", "word", "cut off", "trailing comma", "NUL", "NUL inside", "invalid UTF-8", "encoded surrogate",
        "lone surrogate", "leading zero", "duplicate id", "duplicate key", "deep array", "very deep object"])
def test_what_is_no_json_gets_a_parse_error_and_the_connection_lives(front, raw):
    reply = front.exchange(raw)
    assert error_of(reply)["code"] == -32700
    assert reply.get("id") is None
    assert front.ask(request(2, "tools/list"))["result"]["tools"]


def test_too_deep_nesting_names_the_limit(front):
    nested = b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"x":' + b"[" * 90 + b"]" * 90 + b"}}"
    assert "64" in error_of(front.exchange(nested))["message"]


def test_an_oversized_line_names_the_limit_and_the_connection_lives(front):
    chunk = b"x" * (1 << 20)
    front.write(b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"')
    for _ in range(80):
        front.write(chunk)
    front.write(b'"}}\n')
    error = error_of(front.other())
    assert error["code"] in (-32700, -32600)
    assert any(c.isdigit() for c in error["message"]), error
    assert front.ask(request(2, "tools/list"))["result"]["tools"]


@pytest.mark.parametrize("message", [
    {"jsonrpc": "1.0", "id": 1, "method": "tools/list"}, {"id": 1, "method": "tools/list"}, 42, "text", None,
    {"jsonrpc": "2.0", "id": 1, "method": 5},
    {"jsonrpc": "2.0", "id": {"a": 1}, "method": "tools/list"}, {"jsonrpc": "2.0", "id": 1.5, "method": "tools/list"},
    {"jsonrpc": "2.0", "id": "x" * 100_000, "method": "tools/list"},
], ids=["version 1.0", "no version", "number", "string", "null", "method 5", "object id", "real id", "huge id"])
def test_json_that_is_no_message_gets_invalid_request(front, message):
    reply = front.exchange(json.dumps(message).encode())
    assert error_of(reply)["code"] == -32600
    assert len(json.dumps(reply)) < 2000
    assert front.ask(request(2, "tools/list"))["result"]["tools"]


def test_params_that_are_no_object_are_invalid(front):
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": [1]}
    assert error_of(front.ask(message))["code"] in (-32600, -32602)


@pytest.mark.parametrize("id", [0, -1, "a", "", 2**53, 2**63 - 1, "ä\u2028\U0001f600", 1763900000000])
def test_ids_are_echoed_in_type_and_value(front, id):
    assert front.ask(request(id, "tools/list"))["id"] == id


def test_a_number_id_beyond_64_bits_is_echoed_or_refused_but_never_changed(front):
    raw = json.dumps(request("@", "tools/list")).replace('"@"', "1" + "0" * 40).encode()
    reply = front.exchange(raw)
    assert reply.get("id") == 10**40 or error_of(reply)["code"] == -32600


def test_an_unknown_method_is_not_found(front):
    assert error_of(front.ask(request(1, "tools/frobnicate")))["code"] == -32601


@pytest.mark.parametrize("method", ["ping", "logging/setLevel", "resources/subscribe"])
def test_methods_that_the_modern_era_removed_are_not_found(front, method):
    assert error_of(front.ask(request(1, method)))["code"] == -32601


def test_an_unknown_tool_is_a_protocol_error_that_names_it(front):
    error = error_of(front.ask(call(1, "frobnicate")))
    assert error["code"] == -32602
    assert "frobnicate" in error["message"]


@pytest.mark.parametrize("change", [
    {PREFIX + "protocolVersion": None}, {PREFIX + "clientCapabilities": None}, {PREFIX + "protocolVersion": 5},
    {PREFIX + "clientCapabilities": []},
], ids=["no version", "no capabilities", "version 5", "capabilities array"])
def test_an_incomplete_modern_meta_is_refused(front, change):
    fields = {**meta(), **change}
    message = request(1, "tools/list", modern=False)
    message["params"]["_meta"] = {k: v for k, v in fields.items() if v is not None}
    error = error_of(front.ask(message))
    assert error["code"] == -32602
    assert next(iter(change)).split("/")[1] in error["message"]


def test_a_lenient_server_serves_a_bare_line_without_meta_as_legacy(front):
    result = front.ask(request(1, "tools/list", modern=False))["result"]
    assert result["tools"] and "resultType" not in result


def test_an_unsupported_version_names_the_supported_ones(front):
    message = request(1, "tools/list", modern=False)
    message["params"]["_meta"] = meta(version="v999.0.0")
    error = error_of(front.ask(message))
    assert error["code"] == -32022
    assert MODERN in error["data"]["supported"]
    assert error["data"]["requested"] == "v999.0.0"


def test_initialize_works_after_discover_on_the_same_pipe(front):
    assert MODERN in front.ask(request(1, "server/discover"))["result"]["supportedVersions"]
    assert front.ask(initialize(2))["result"]["protocolVersion"] == "2025-11-25"
    front.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert front.ask(request(3, "tools/list", modern=False))["result"]["tools"]
    assert front.ask(request(4, "ping", modern=False))["result"] == {}


def test_a_batch_is_answered_under_2025_03_26_and_refused_elsewhere(world):
    batch = json.dumps([request(5, "ping", modern=False), request(6, "tools/list", modern=False)]).encode()
    first = world.serve()
    first.ask(initialize(1, "2025-03-26"))
    first.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    reply = first.exchange(batch)
    assert isinstance(reply, list) and {part["id"] for part in reply} == {5, 6}
    second = world.serve()
    second.ask(initialize(1, "2025-11-25"))
    assert error_of(second.exchange(batch))["code"] == -32600


def test_blank_lines_and_unknown_notifications_are_passed_over(front):
    front.write(b"\n\r\n  \n")
    front.send({"jsonrpc": "2.0", "method": "notifications/whatever", "params": {"_meta": meta()}})
    front.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99, "_meta": meta()}})
    front.send({"jsonrpc": "2.0", "id": 77, "result": {}})
    assert front.ask(request(2, "tools/list"))["result"]["tools"]


def test_a_line_may_come_byte_by_byte(front):
    key = None
    message = request("slow", "tools/list")
    with front._changed:
        front._expected.add(key := json.dumps("slow"))
    for byte in json.dumps(message).encode() + b"\n":
        front.write(bytes([byte]))
    assert front.finish(key)["result"]["tools"]


def test_log_output_stays_off_the_wire(world):
    world.env["GPUMCP_LOG"] = "debug"
    front = world.serve()
    assert front.ask(request(1, "tools/list"))["result"]["tools"]
    assert front.close() == 0
    assert front.bad_lines == []


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_a_running_call_finish(world, end):
    front = world.serve_tools()
    assert not front.call("echo", {"text": "up"}).get("isError")
    running = front.start(call("r", "sleep_ms", {"ms": 300}))
    assert not front.call("echo", {"text": "it runs"}).get("isError")
    os.kill(front.pid, end)
    assert not front.finish(running)["result"].get("isError")
    assert front.process.wait(5) == 0
