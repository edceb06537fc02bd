#!/usr/bin/env python3
"""Measures how many tokens a second a language model generates for several agents at once, beside one alone.

Usage: generating_agents.py [--bin build/release/bin/gpumcp] [--model NAME[=FOLDER]] [--agents 1,2,4,8] [--tokens N] [--turns N]
Each agent has a front of its own (gpumcp serve language_model, over stdio, as hosts start it); all share one worker. Every
agent sends one `generate` of N tokens, greedy, with a prompt of its own; a turn's time is from the first request to the last
answer, and of several turns the best counts. Standard library only.
"""
import agents as bench

PROMPTS = ["Once upon a time", "The history of Rome begins", "To bake bread you need", "A prime number is", "The sea was calm and",
           "In the year 2050", "My favourite animal is", "Dear Sir or Madam,"]


def main():
    parser = bench.parser_of(__doc__)
    parser.add_argument("--model", default="")
    parser.add_argument("--agents", default="1,2,4,8")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    counts = [int(word) for word in options.agents.split(",")]
    arguments = ["language_model"] + (["--model", options.model] if options.model else [])
    agents = [bench.Agent(options.bin, arguments) for _ in range(max(counts))]

    def generate(agent, number, tokens=options.tokens):
        return agent.call("generate", {"prompt": PROMPTS[number % len(PROMPTS)], "max_new_tokens": tokens, "temperature": 0})["new_tokens"]

    for number, agent in enumerate(agents):
        generate(agent, number, 4)  # loads the model, and connects each front
    print("| agents | tokens | seconds | tokens/s | times one alone |\n|---|---|---|---|---|")
    alone = None
    for count in counts:
        turns = [bench.at_once(agents[:count], generate) for _ in range(options.turns)]
        made, seconds = min(turns, key=lambda turn: turn[1] / sum(turn[0]))
        rate = sum(made) / seconds
        alone = alone or rate
        print(f"| {count} | {sum(made)} | {seconds:.2f} | {rate:.1f} | {rate / alone:.1f} |", flush=True)
    for agent in agents:
        agent.end()


if __name__ == "__main__":
    main()
