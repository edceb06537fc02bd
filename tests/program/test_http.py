"""Streamable HTTP as raw requests: both eras at /mcp, the guards, streams, and what a disconnect means."""

import json
import os
import signal
import socket
import threading
import time

import pytest
from client import LEGACY, MODERN, call, exit_watch, initialize, meta, request, text_of
from conftest import TEST_TOOLS

EVENTS = "text/event-stream"


@pytest.fixture
def http(world):
    return world.serve_http(TEST_TOOLS)


class LegacySession:
    """initialize and what follows from it: the session header and the version."""

    def __init__(self, http, version="2025-11-25", send_version=True):
        self.http = http
        reply = http.post_raw(initialize(1, version))
        assert reply.status == 200, reply.body
        self.result = reply.message()["result"]
        self.headers = {}
        if "mcp-session-id" in reply.headers:
            self.headers["Mcp-Session-Id"] = reply.headers["mcp-session-id"]
        if send_version:
            self.headers["MCP-Protocol-Version"] = version
        done = self.post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        assert done.status == 202 and done.body == b""

    def post(self, message, **headers):
        return self.http.post_raw(message, {**self.headers, **headers})

    def call(self, id, tool, arguments):
        return self.post(call(id, tool, arguments, modern=False))


def test_the_modern_era_needs_no_handshake(http):
    reply = http.post(request(1, "server/discover"))
    assert reply.status == 200 and MODERN in reply.message()["result"]["supportedVersions"]
    assert "mcp-session-id" not in reply.headers
    assert "echo" in {tool["name"] for tool in http.post(request(2, "tools/list")).message()["result"]["tools"]}
    assert "over http" in text_of(http.call("echo", {"text": "over http"}))


@pytest.mark.parametrize("version", LEGACY[1:])
def test_each_legacy_version_lists_and_calls(http, version):
    session = LegacySession(http, version)
    assert session.result["protocolVersion"] == version
    assert session.post(request(2, "tools/list", modern=False)).message()["result"]["tools"]
    assert "hi" in text_of(session.call(3, "echo", {"text": "hi"}).message()["result"])
    assert session.post(request(4, "ping", modern=False)).message()["result"] == {}


def test_a_legacy_client_may_leave_out_the_version_header(http):
    session = LegacySession(http, "2025-03-26", send_version=False)
    assert "hi" in text_of(session.call(3, "echo", {"text": "hi"}).message()["result"])


def test_both_eras_at_once_on_one_address(http):
    session = LegacySession(http)
    assert "a" in text_of(http.call("echo", {"text": "a"}))
    assert "b" in text_of(session.call(2, "echo", {"text": "b"}).message()["result"])


def test_a_batch_is_answered_under_2025_03_26(http):
    session = LegacySession(http, "2025-03-26")
    replies = session.post([request(5, "ping", modern=False), request(6, "tools/list", modern=False)]).messages()
    assert {part["id"] for part in replies} == {5, 6}


def test_healthz_answers(http):
    assert http.send("GET", "/healthz").status == 200
    assert http.send("GET", "/nowhere").status == 404


@pytest.mark.parametrize("headers, status", [
    ({"Host": "evil.example.com"}, 403), ({"Origin": "http://evil.example.com"}, 403),
    ({"Host": "evil.example.com", "Origin": "http://evil.example.com"}, 403), ({"Origin": "null"}, 403),
    ({"Host": "localhost:{port}"}, 200), ({"Host": "127.0.0.1:{port}"}, 200),
    ({"Origin": "http://127.0.0.1:{port}"}, 200), ({"Origin": "http://localhost:{port}"}, 200),
])
def test_host_and_origin_are_checked(http, headers, status):
    filled = {k: v.replace("{port}", str(http.port)) for k, v in headers.items()}
    reply = http.post(request(1, "tools/list"), filled)
    assert reply.status == status or (status == 403 and reply.status in (400, 421)), reply.body


@pytest.mark.parametrize("body", [b"{", b"", b"\xff", b'{"a":1,"a":2}', b"[" * 1000])
def test_a_body_that_is_no_json_is_a_bad_request(http, body):
    reply = http.post_raw(body)
    assert reply.status == 400
    assert reply.message()["error"]["code"] in (-32700, -32600)
    assert http.send("GET", "/healthz").status == 200


@pytest.mark.parametrize("type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_another_content_type_is_refused(http, type):
    reply = http.post(request(1, "tools/list"), {"Content-Type": type})
    assert reply.status in (400, 415)


def test_a_content_type_with_parameters_is_accepted(http):
    assert http.post(request(1, "tools/list"), {"Content-Type": "application/json; charset=utf-8"}).status == 200


def test_get_and_delete_follow_the_spec(http):
    assert http.send("DELETE", "/mcp").status in (400, 404, 405)
    assert http.send("PUT", "/mcp", b"{}").status in (404, 405)
    assert http.send("GET", "/mcp", headers={"Accept": "text/html"}).status in (400, 405, 406)
    session = LegacySession(http)
    if "Mcp-Session-Id" in session.headers:
        assert http.send("DELETE", "/mcp", headers=session.headers).status in (200, 202, 204, 405)
        unknown = {**session.headers, "Mcp-Session-Id": "no-such-session"}
        assert http.post_raw(request(2, "tools/list", modern=False), unknown).status == 404


@pytest.mark.parametrize("headers, code", [
    ({"Mcp-Method": "tools/list"}, -32020), ({"Mcp-Method": None}, -32020), ({"Mcp-Name": "other"}, -32020),
    ({"Mcp-Name": None}, -32020), ({"MCP-Protocol-Version": "2025-11-25"}, -32020),
    ({"MCP-Protocol-Version": None}, -32020), ({"Mcp-Name": "=?base64?!!!?="}, -32020),
])
def test_headers_that_differ_from_the_body_are_a_mismatch(http, headers, code):
    reply = http.post(call(1, "echo", {"text": "a"}), headers)
    assert reply.status == 400
    assert reply.message()["error"]["code"] == code


def test_header_names_are_case_insensitive_and_base64_values_are_decoded(http):
    message = call(1, "echo", {"text": "a"})
    shouted = {k.upper(): v for k, v in http.modern_headers(message).items()}
    assert http.post_raw(message, shouted).status == 200
    assert http.post(message, {"Mcp-Name": "=?base64?ZWNobw==?="}).status == 200


def test_modern_errors_have_their_http_status(http):
    missing = request(1, "tools/list", modern=False)
    missing["params"]["_meta"] = {k: v for k, v in meta().items() if "Capabilities" not in k}
    reply = http.post_raw(missing, {"MCP-Protocol-Version": MODERN, "Mcp-Method": "tools/list"})
    assert (reply.status, reply.message()["error"]["code"]) == (400, -32602)
    future = request(1, "tools/list", modern=False)
    future["params"]["_meta"] = meta(version="v999.0.0")
    reply = http.post_raw(future, {"MCP-Protocol-Version": "v999.0.0", "Mcp-Method": "tools/list"})
    assert (reply.status, reply.message()["error"]["code"]) == (400, -32022)
    reply = http.post(request(1, "tools/frobnicate"))
    assert (reply.status, reply.message()["error"]["code"]) == (404, -32601)
    assert http.post(call(1, "frobnicate")).message()["error"]["code"] == -32602


def test_a_notification_is_accepted_without_a_body(http):
    message = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5, "_meta": meta()}}
    reply = http.post(message)
    assert (reply.status, reply.body) == (202, b"")


def test_a_body_beyond_the_limit_is_refused_as_too_large(http):
    with socket.create_connection((http.host, http.port), timeout=20) as connection:
        size = 1 << 30
        connection.sendall(f"POST /mcp HTTP/1.1\r\nHost: {http.host}:{http.port}\r\nContent-Type: application/json\r\n"
                           f"Accept: application/json, text/event-stream\r\nContent-Length: {size}\r\n\r\n".encode())
        try:
            for _ in range(128):
                connection.sendall(b" " * (1 << 20))
        except OSError:
            pass  # it may close as soon as it knows
        try:
            first = connection.recv(64)
        except OSError:
            first = b""
    assert not first or b"413" in first.split(b"\r\n")[0], first
    assert http.send("GET", "/healthz").status == 200


def test_progress_comes_as_an_event_stream_before_the_result(http):
    message = call(1, "sleep_ms", {"ms": 300}, progressToken="p")
    reply = http.post(message)
    assert reply.status == 200
    assert reply.type == EVENTS
    *before, last = reply.messages()
    assert last["id"] == 1 and not last["result"].get("isError")
    assert before and all(m["method"] == "notifications/progress" for m in before)
    values = [m["params"]["progress"] for m in before]
    assert values == sorted(set(values))
    assert all(m["params"]["progressToken"] == "p" for m in before)


def open_call(http, message, headers):
    """Sends a call and leaves the connection open, unanswered."""
    body = json.dumps(message).encode()
    lines = ["POST /mcp HTTP/1.1", f"Host: {http.host}:{http.port}", "Content-Type: application/json",
             "Accept: application/json, text/event-stream", f"Content-Length: {len(body)}",
             *(f"{k}: {v}" for k, v in headers.items()), "", ""]
    connection = socket.create_connection((http.host, http.port), timeout=20)
    connection.sendall("\r\n".join(lines).encode() + body)
    return connection


def test_a_signal_lets_a_running_call_finish(http):
    assert "up" in text_of(http.call("echo", {"text": "up"}))
    message = call(1, "sleep_ms", {"ms": 300}, progressToken="p")
    connection = open_call(http, message, http.modern_headers(message))
    said = connection.recv(65536)  # the head, with the first progress: it runs
    os.kill(http.front.pid, signal.SIGTERM)
    while part := connection.recv(65536):
        said += part
    assert b'"id":1,"result"' in said, said
    assert http.front.process.wait(5) == 0


def test_a_page_may_read_answers_only_if_its_origin_is_allowed(world):
    http = world.serve_http(TEST_TOOLS, "--allow-origin", "https://app.example")
    ask = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type, mcp-method"}
    reply = http.send("OPTIONS", "/mcp", headers={**ask, "Origin": "https://app.example"})
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    assert reply.headers["access-control-allow-headers"] == "content-type, mcp-method"
    assert http.send("OPTIONS", "/mcp", headers={**ask, "Origin": "https://evil.example"}).status == 403
    reply = http.post(request(1, "tools/list"), {"Origin": "https://app.example"})
    assert reply.headers["access-control-allow-origin"] == "https://app.example"
    assert "access-control-allow-origin" not in http.post(request(1, "tools/list")).headers


def test_a_modern_client_that_leaves_cancels_its_call(world, http):
    assert "up" in text_of(http.call("echo", {"text": "up"}))
    (worker,) = world.workers()
    left, message = exit_watch(worker), call(1, "sleep_ms", {"ms": 60_000})
    open_call(http, message, http.modern_headers(message)).close()
    assert http.front.alive()
    # With nothing left to run, the worker idles out after a second: the call was cancelled, not waited for.
    assert left(15), "the worker still has something to do"


def test_a_legacy_client_that_leaves_does_not_cancel(world, http):
    session = LegacySession(http)
    assert "up" in text_of(session.call(2, "echo", {"text": "up"}).message()["result"])
    (worker,) = world.workers()
    left, began = exit_watch(worker), time.monotonic()
    open_call(http, call(3, "sleep_ms", {"ms": 3_000}, modern=False), session.headers).close()
    assert left(20)
    assert time.monotonic() - began >= 3.0, "the worker left while the call should have run"


def test_many_connections_at_once_each_get_their_own_answer(http):
    answers = {}

    def work(i):
        answers[i] = text_of(http.call("echo", {"text": f"number-{i}-"}))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 64
    assert all(f"number-{i}-" in said for i, said in answers.items())


def test_an_address_beyond_loopback_needs_a_token(world):
    done = world.run("serve", TEST_TOOLS, "--http", "0.0.0.0:0", timeout=10)
    assert done.returncode == 1
    assert "token" in done.stderr


def test_a_token_file_guards_every_request(world):
    path = world.folder / "token"
    path.write_text("sesame-0123456789abcdef\n")
    path.chmod(0o600)
    http = world.serve_http(TEST_TOOLS, "--token-file", path)
    message = call(1, "echo", {"text": "a"})
    assert http.post(message).status == 401
    assert http.post(message, {"Authorization": "Bearer wrong"}).status == 401
    assert http.post(message, {"Authorization": "Bearer sesame-0123456789abcdef"}).status == 200
