#!/usr/bin/env python3
"""Measures what agents gain who ask for embeddings at once, beside the same calls one after another.

Usage: embedding_agents.py [--bin build/release/bin/gpumcp] [--agents 16] [--calls N] [--turns N]
Each agent has a front of its own (gpumcp serve, over stdio); all share one worker. A turn is N calls of get_embedding an agent, on
texts of 4 to 200 words in an order that is the same each time: first all of them one after another, then the agents at once. Turns
alternate, and the middle one of each kind counts. Standard library only.
"""
import random
import time

import agents as bench


def corpus(count):
    words = "the a model call agent answer worker memory batch token layer value time small large quick server runs reads writes".split()
    draw = random.Random(7)
    return [" ".join(draw.choice(words) for _ in range(draw.choice([4, 8, 12, 20, 40, 80, 200]))) for _ in range(count)]


def main():
    parser = bench.parser_of(__doc__)
    parser.add_argument("--agents", type=int, default=16)
    parser.add_argument("--calls", type=int, default=20)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    agents = [bench.Agent(options.bin, []) for _ in range(options.agents)]
    texts = corpus(options.agents * options.calls)

    def embed(agent, number):
        times = []
        for i in range(options.calls):
            began = time.monotonic()
            agent.call("get_embedding", {"text": texts[number * options.calls + i]})
            times.append(time.monotonic() - began)
        return times

    for number, agent in enumerate(agents):
        agent.call("get_embedding", {"text": "warm"})
    alone, together = [], []
    for _ in range(options.turns):
        began = time.monotonic()
        times = [one for number, agent in enumerate(agents) for one in embed(agent, number)]
        alone.append((time.monotonic() - began, times))
        results, seconds = bench.at_once(agents, embed)
        together.append((seconds, [one for times in results for one in times]))
    print("| | texts/s | p50 ms | p99 ms |\n|---|---|---|---|")
    rates = []
    for name, turns in (("one after another", alone), (f"{options.agents} agents at once", together)):
        seconds, times = sorted(turns, key=lambda turn: turn[0])[len(turns) // 2]
        rates.append(len(texts) / seconds)
        print(f"| {name} | {rates[-1]:.1f} | {1000 * bench.middle(times):.1f} | {1000 * bench.percentile(times, 0.99):.1f} |")
    print(f"\nat once {rates[1] / rates[0]:.1f} times as many")
    for agent in agents:
        agent.end()


if __name__ == "__main__":
    main()
