"""GET /metrics of an HTTP front: what Prometheus would read of calls, their times, the worker and its models."""

import re

import client
from client import call, request
from conftest import TEST_TOOLS


def numbers(reply):
    """{series: value}, checked to be Prometheus text: every series is described before it comes."""
    assert reply.status == 200 and reply.headers["content-type"].startswith("text/plain; version=0.0.4"), reply.body
    out, described = {}, set()
    for line in reply.body.decode().splitlines():
        if line.startswith("# TYPE "):
            described.add(line.split()[2])
        elif not line.startswith("#"):
            match = re.fullmatch(r'([a-z_]+)(\{[^{}]*\})? (\S+)', line)
            assert match, line
            assert re.sub(r"_(bucket|sum|count)$", "", match[1]) in described or match[1] in described, line
            out[match[1] + (match[2] or "")] = float(match[3])
    return out


def test_metrics_count_calls_and_describe_the_worker(world):
    http = world.serve_http(TEST_TOOLS)
    before = numbers(http.send("GET", "/metrics"))
    assert before["gpumcp_worker_up"] == 0 and before["gpumcp_calls_waiting"] == 0
    assert world.workers() == [], "asking starts nothing"
    for text in ("a", "b"):
        assert not http.call("echo", {"text": text}).get("isError")
    assert http.call("throw_error", {"message": "x"})["isError"]
    after = numbers(http.send("GET", "/metrics"))
    assert after["gpumcp_worker_up"] == 1 and after["gpumcp_worker_fronts"] == 1
    name = "gpumcp_call_duration_seconds"
    assert after[name + '_count{tool="echo",outcome="ok"}'] == 2
    assert after[name + '_count{tool="echo",outcome="error"}'] == 0
    assert after[name + '_count{tool="throw_error",outcome="error"}'] == 1
    assert after[name + '_bucket{tool="echo",outcome="ok",le="+Inf"}'] == 2
    assert 0 < after[name + '_sum{tool="echo",outcome="ok"}'] < 60
    buckets = [value for key, value in after.items() if key.startswith(name + '_bucket{tool="echo",outcome="ok"')]
    assert buckets == sorted(buckets) and len(buckets) == 15
    # Asking keeps nothing awake: the worker idles out while it is asked.
    client.wait_until(lambda: numbers(http.send("GET", "/metrics"))["gpumcp_worker_up"] == 0, 20, "the worker has left")
    assert numbers(http.send("GET", "/metrics"))[name + '_count{tool="echo",outcome="ok"}'] == 2


def test_metrics_need_the_token(world):
    token = world.folder / "token"
    token.write_text("a-token-of-the-test\n")
    http = world.serve_http(TEST_TOOLS, "--token-file", token)
    assert http.send("GET", "/metrics").status == 401
    assert http.send("GET", "/healthz").status == 200
    assert http.send("GET", "/metrics", headers={"authorization": "Bearer a-token-of-the-test"}).status == 200
    assert http.send("GET", "/metrics", headers={"origin": "http://elsewhere.example"}).status == 403
