#!/usr/bin/env python3
"""Measures agents that use one language model for different things at once, beside the same calls one after another.

Usage: mixed_agents.py [--bin build/release/bin/gpumcp] [--agents 8] [--rounds N] [--turns N]
Each agent has a front of its own (gpumcp serve language_model interpretability); all share one worker. In a round an agent generates
24 tokens (every third one steered), asks for next tokens, scores a text, and reads activations of four texts; agents begin at
different places of the round. Turns of one after another and of all at once alternate, and the middle one of each kind counts. What
each call answers must be the same both ways: batching may not change it. Standard library only.
"""
import time

import agents as bench

TEXT = "The quick brown fox jumps over the lazy dog, and then the dog asks what all the hurry is about. "


def main():
    parser = bench.parser_of(__doc__)
    parser.add_argument("--agents", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    agents = [bench.Agent(options.bin, ["language_model", "interpretability"]) for _ in range(options.agents)]
    made = agents[0].call("contrast_vector", {"positive": ["I love this", "Wonderful"], "negative": ["I hate this", "Terrible"], "layers": [12]})
    steering = [{"vector": made["uri"], "layers": [12], "strength": 2.0}]

    def calls(number):
        generate = {"prompt": f"Agent {number} writes:", "max_new_tokens": 24, "temperature": 0}
        if number % 3 == 0:
            generate["steering"] = steering
        return [("generate", generate), ("next_tokens", {"text": f"{TEXT} Number {number} is"}), ("score_text", {"text": TEXT * 2}),
                ("get_activations", {"texts": [f"{TEXT} {number} {i}" for i in range(4)], "sites": ["blocks.*.hook_resid_post"]})]

    def work(agent, number):
        answers = []
        for step in range(4 * options.rounds):
            tool, arguments = calls(number)[(step + number) % 4]
            answer = dict(agent.call(tool, arguments))
            answer.pop("uri", None)
            answers.append((tool, answer))
        return answers

    for number, agent in enumerate(agents):
        work(agent, number) if number == 0 else agent.call("next_tokens", {"text": "warm"})
    alone, together = [], []
    for _ in range(options.turns):
        began = time.monotonic()
        apart = [work(agent, number) for number, agent in enumerate(agents)]
        alone.append(time.monotonic() - began)
        at_once, seconds = bench.at_once(agents, work)
        together.append(seconds)
        for one, other in zip(apart, at_once):
            for (tool, a), (_, b) in zip(one, other):
                if a != b:
                    raise SystemExit(f"{tool} answered otherwise among others:\n{a}\n{b}")
    count = 4 * options.rounds * options.agents
    print("| | calls | seconds | calls/s |\n|---|---|---|---|")
    for name, turns in (("one after another", alone), (f"{options.agents} agents at once", together)):
        print(f"| {name} | {count} | {bench.middle(turns):.2f} | {count / bench.middle(turns):.1f} |")
    print(f"\nat once {bench.middle(alone) / bench.middle(together):.1f} times as many; every answer the same")
    for agent in agents:
        agent.end()


if __name__ == "__main__":
    main()
