#!/usr/bin/env python3
"""The main job, done by a client that needs only Python's standard library.

    scripts/first_call.py [GPUMCP]        (default: build/release/bin/gpumcp)

Starts `gpumcp serve` as an agent's host does, asks what it can do (server/discover, tools/list), calls
get_embedding("hello world"), and prints the result, what the call cost, and the entry for Claude Desktop.
"""
import json
import os
import subprocess
import sys
import threading
import time

VERSION = "2026-07-28"
PREFIX = "io.modelcontextprotocol/"
TIMEOUT_S = 120  # the first call loads libtorch and the weights from disk


class Client:
    """One MCP session over a child's stdin and stdout: a JSON message a line."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.next_id = 1

    def request(self, method, **params):
        params["_meta"] = {
            PREFIX + "protocolVersion": VERSION,
            PREFIX + "clientCapabilities": {},
            PREFIX + "clientInfo": {"name": "first_call", "version": "1"},
        }
        message = {"jsonrpc": "2.0", "id": self.next_id, "method": method, "params": params}
        self.next_id += 1
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        for line in self.process.stdout:
            reply = json.loads(line)
            if reply.get("id") != message["id"]:
                continue  # a notification
            if "error" in reply:
                sys.exit(f"first_call: {method} was refused: {reply['error']['message']}")
            return reply["result"]
        sys.exit(f"first_call: the server ended before it answered {method} (exit code {self.process.wait()})")

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=10)


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "build/release/bin/gpumcp"
    if not os.access(program, os.X_OK):
        sys.exit(f"first_call: there is no program {program}: run scripts/quickstart, which builds it")
    started = time.monotonic()
    client = Client([program, "serve"])
    watchdog = threading.Timer(TIMEOUT_S, client.process.kill)
    watchdog.daemon = True
    watchdog.start()

    versions = client.request("server/discover")["supportedVersions"]
    tools = client.request("tools/list")["tools"]
    listed = time.monotonic()
    print(f"gpumcp serve speaks MCP {', '.join(versions)}; its tools after {(listed - started) * 1e3:.0f} ms:")
    for tool in tools:
        print(f"  {tool['name']}({', '.join(tool['inputSchema'].get('properties', {}))})")

    results = []
    for _ in range(2):
        begin = time.monotonic()
        results.append(client.request("tools/call", name="get_embedding", arguments={"text": "hello world"}))
        results[-1]["seconds"] = time.monotonic() - begin
    client.close()
    watchdog.cancel()

    result = results[0]
    if result.get("isError"):
        sys.exit("first_call: get_embedding failed: " + result["content"][0]["text"])
    value = result["structuredContent"]
    print(f'\nget_embedding("hello world"), {result["seconds"]:.2f} s with the start of the worker and the model:')
    print(f"  model    {value['model']}")
    print(f"  shape    {value['dims']} x {value['dtype']}, norm {value['norm']:.6f}")
    print(f"  preview  [{', '.join(f'{x:.6f}' for x in value['preview'])}]")
    print(f"  uri      {value['uri']}")
    print("  usage    " + json.dumps(result["_meta"]["gpumcp/usage"]))
    print(f"once more, {results[1]['seconds'] * 1e3:.1f} ms:")
    print("  usage    " + json.dumps(results[1]["_meta"]["gpumcp/usage"]))

    print("\nFor Claude Desktop (Settings, Developer, Edit Config):\n", flush=True)
    subprocess.run([program, "config", "claude-desktop"], check=True)


if __name__ == "__main__":
    main()
