"""What the benchmarks of several agents share: fronts as hosts start them, and turns of calls at once. Standard library only."""
import argparse
import json
import pathlib
import statistics
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


class Agent:
    """A front of its own (`gpumcp serve`, over stdio); all with the same arguments share one worker. One call at a time."""

    def __init__(self, program, arguments):
        self.front = subprocess.Popen([str(program), "serve", *arguments, "--idle", "20"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        self.number = 0

    def call(self, tool, arguments):
        """The structured result."""
        self.number += 1
        request = {"jsonrpc": "2.0", "id": self.number, "method": "tools/call",
                   "params": {"name": tool, "arguments": arguments, "_meta": META}}
        self.front.stdin.write(json.dumps(request) + "\n")
        self.front.stdin.flush()
        for line in self.front.stdout:
            reply = json.loads(line)
            if reply.get("id") == self.number:
                if "error" in reply:
                    raise SystemExit(f"{tool}: {reply['error']['message']}")
                if reply["result"].get("isError"):
                    raise SystemExit(f"{tool}: {reply['result']['content'][0]['text']}")
                return reply["result"]["structuredContent"]
        raise SystemExit("the front ended")

    def end(self):
        self.front.stdin.close()
        self.front.wait()


def at_once(agents, work):
    """work(agent, number) on a thread for each agent: what they return, and the seconds until the last is done."""
    results = [None] * len(agents)

    def run(number):
        results[number] = work(agents[number], number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(agents))]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if None in results:
        raise SystemExit("a call failed")
    return results, time.monotonic() - began


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def middle(values):
    return statistics.median(values)


def parser_of(text):
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=ROOT / "build/release/bin/gpumcp")
    return parser
