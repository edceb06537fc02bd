#!/usr/bin/env python3
"""Measures how many tokens a second a language model generates for several agents at once, beside one alone.

Usage: generating_agents.py [--bin build/release/bin/gpumcp] [--model NAME] [--agents 1,2,4,8] [--tokens N] [--turns N]
Each agent has a front of its own (gpumcp serve language_model, over stdio, as hosts start it); all share one worker. Every
agent sends one `generate` of N tokens, greedy, with a prompt of its own; a turn's time is from the first request to the last
answer, and of several turns the best counts. Standard library only.
"""
import argparse
import json
import pathlib
import subprocess
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
PROMPTS = ["Once upon a time", "The history of Rome begins", "To bake bread you need", "A prime number is", "The sea was calm and",
           "In the year 2050", "My favourite animal is", "Dear Sir or Madam,"]


class Agent:
    def __init__(self, options, number):
        words = [str(options.bin), "serve", "language_model", "--idle", "20"]
        if options.model:
            words += ["--model", options.model]
        self.front = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.prompt = PROMPTS[number % len(PROMPTS)]

    def generate(self, tokens):
        arguments = {"prompt": self.prompt, "max_new_tokens": tokens, "temperature": 0}
        request = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                   "params": {"name": "generate", "arguments": arguments, "_meta": META}}
        self.front.stdin.write(json.dumps(request) + "\n")
        self.front.stdin.flush()
        for line in self.front.stdout:
            reply = json.loads(line)
            if reply.get("id") == 1:
                result = reply["result"]
                if result.get("isError"):
                    raise SystemExit(result["content"][0]["text"])
                return result["structuredContent"]["new_tokens"]
        raise SystemExit("the front ended")

    def end(self):
        self.front.stdin.close()
        self.front.wait()


def turn(agents, tokens):
    """Tokens in all, and seconds."""
    made = [0] * len(agents)

    def run(i):
        made[i] = agents[i].generate(tokens)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(agents))]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(made), time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default=ROOT / "build/release/bin/gpumcp")
    parser.add_argument("--model", default="")
    parser.add_argument("--agents", default="1,2,4,8")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    counts = [int(word) for word in options.agents.split(",")]
    agents = [Agent(options, number) for number in range(max(counts))]
    for agent in agents:
        agent.generate(4)  # loads the model, and connects each front
    print("| agents | tokens | seconds | tokens/s | times one alone |\n|---|---|---|---|---|")
    alone = None
    for count in counts:
        tokens, seconds = min((turn(agents[:count], options.tokens) for _ in range(options.turns)), key=lambda one: one[1] / one[0])
        rate = tokens / seconds
        alone = alone or rate
        print(f"| {count} | {tokens} | {seconds:.2f} | {rate:.1f} | {rate / alone:.1f} |", flush=True)
    for agent in agents:
        agent.end()


main()
