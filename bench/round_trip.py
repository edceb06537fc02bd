#!/usr/bin/env python3
"""What a call costs on its way through front and worker: here, over ssh, in a Slurm job, beside the plain function, and beside
the way of the scoped sandbox that this one follows: a single-threaded HTTP server in the sandbox, and a proxy that posts to it
with a new connection a call (rebuilt below).

    bench/round_trip.py [--gpumcp build/release/bin/gpumcp] [--calls 300] [--provider ssh:HOST]... [--provider slurm]...

Prints p50 and p90 in ms for a small answer (a sum) and for a large one (3,584 numbers, 70 KB of JSON). Standard library only.
"""

import argparse
import functools
import http.server
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

SOURCE = '''
@expose
def add(a: int, b: int) -> int:
    """A sum."""
    return a + b

@expose
def numbers(n: int) -> dict:
    """Numbers."""
    return {"numbers": [i + 0.123456789012345 for i in range(n)]}
'''
CALLS = [("small", "add", {"a": 1, "b": 2}), ("large", "numbers", {"n": 3584})]


def functions():
    space = {"expose": lambda function: function}
    exec(SOURCE, space)  # the same functions, in this process
    return space


class Pipe:
    """gpumcp serve, spoken to over stdio."""

    def __init__(self, program, file, options, env):
        command = [program, "serve", str(file), "--python", sys.executable, "--idle", "30", *options]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
        self.number = 0

    def call(self, tool, arguments):
        self.number += 1
        meta = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"}, "gpumcp/output": "inline"}
        params = {"name": tool, "arguments": arguments, "_meta": meta}
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": self.number, "method": "tools/call", "params": params}) + "\n")
        self.process.stdin.flush()
        reply = json.loads(self.process.stdout.readline())
        if "result" not in reply or reply["result"].get("isError"):
            sys.exit(f"round_trip.py: {json.dumps(reply)[:400]}")
        return reply["result"]["structuredContent"]

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


class Origin(http.server.BaseHTTPRequestHandler):
    """One POST {fn, kwargs} a call, answered {ok, result}; HTTP/1.0, one request at a time."""

    space = functions()

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"ok": True, "result": self.space[asked["fn"]](**asked["kwargs"])}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def post(port, tool, arguments):
    data = json.dumps({"fn": tool, "args": [], "kwargs": arguments}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}/", data), timeout=600) as reply:
        return json.loads(reply.read())["result"]


def measure(call, count):
    for _ in range(10):
        call()
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        call()
        times.append((time.perf_counter() - begin) * 1000)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.9)]


def main():
    root = pathlib.Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--gpumcp", default=root / "build/release/bin/gpumcp")
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--provider", action="append", default=[])
    options = parser.parse_args()
    print("| way | small p50, p90 ms | large p50, p90 ms |\n|---|---|---|")

    def row(name, call):
        cells = []
        for _, tool, arguments in CALLS:
            p50, p90 = measure(functools.partial(call, tool, arguments), options.calls)
            cells.append(f"{p50:.3g}, {p90:.3g}")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    space = functions()
    row("the plain function", lambda tool, arguments: space[tool](**arguments))
    server = http.server.HTTPServer(("127.0.0.1", 0), Origin)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    row("the origin's: HTTP server and proxy", functools.partial(post, server.server_address[1]))
    with tempfile.TemporaryDirectory(prefix="gpumcp-bench", dir="/tmp") as folder:
        file = pathlib.Path(folder) / "interface.py"
        file.write_text(SOURCE)
        for provider in ["local", *options.provider]:
            pipe = Pipe(options.gpumcp, file, ["--provider", provider], {**os.environ, "XDG_RUNTIME_DIR": folder})
            row(f"gpumcp, {provider}", pipe.call)
            pipe.close()
        subprocess.run([options.gpumcp, "stop"], env={**os.environ, "XDG_RUNTIME_DIR": folder}, stdout=subprocess.DEVNULL, check=False)
    server.shutdown()


if __name__ == "__main__":
    main()
