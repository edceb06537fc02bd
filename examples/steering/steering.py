#!/usr/bin/env python3
"""Finds a direction in a language model, steers its text with it, and shows the change: what an agent does in six calls.

    scripts/fetch smollm2
    examples/steering/steering.py build/release/bin/gpumcp

Needs nothing but Python: it speaks MCP to one `gpumcp serve` on its stdin and stdout.
"""
import json
import subprocess
import sys

POSITIVE = ["I love this film.", "What a wonderful day!", "This is the best meal ever.", "She was delighted with the gift."]
NEGATIVE = ["I hate this film.", "What an awful day!", "This is the worst meal ever.", "She was disappointed with the gift."]
PROMPT = "I went to the restaurant and the food was"


class Server:
    def __init__(self, program):
        command = [program, "serve", "language_model", "interpretability"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.asked = 0
        self.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "steering", "version": "1"})
        self.send({"method": "notifications/initialized"})

    def send(self, message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self.process.stdin.flush()

    def ask(self, method, **params):
        self.asked += 1
        self.send({"id": self.asked, "method": method, "params": params})
        for line in self.process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self.asked:
                return answer["result"]
        sys.exit("the server left; what it said stands above")

    def __getattr__(self, tool):
        def call(**arguments):
            result = self.ask("tools/call", name=tool, arguments=arguments)
            if result.get("isError"):
                sys.exit(f"{tool}: {result['content'][0]['text']}")
            return result["structuredContent"]
        return call

    def close(self):
        self.process.stdin.close()
        self.process.wait()


gpumcp = Server(sys.argv[1] if len(sys.argv) > 1 else "gpumcp")

# 1. In which layer do glad and sad texts lie apart, and along which direction?
contrast = gpumcp.contrast_vector(positive=POSITIVE, negative=NEGATIVE)
for layer in contrast["layers"]:
    print(f"layer {layer['layer']:2}: length {layer['norm']:7.2f}, effect {layer['effect']:5.2f}, accuracy {layer['accuracy']:.2f}")
layer = 12  # in the middle, where there is time left to act on it
direction = f"{contrast['uri']}?slice={layer}"

# 2. Two handles on it. Making them changes nothing; calls that name one are steered.
gladder = gpumcp.steer(vector=direction, layers=[layer], strength=3)
sadder = gpumcp.steer(vector=direction, layers=[layer], strength=-3)
print(f"layer {layer}: {gladder['strength']:+g} and {sadder['strength']:+g} times a vector of length {gladder['vector_norm']:.2f}")

# 3. The same prompt, without and with them.
for name, steering in [("as it is", []), ("gladder", [{"handle": gladder["handle"]}]), ("sadder", [{"handle": sadder["handle"]}])]:
    text = gpumcp.generate(prompt=PROMPT, max_new_tokens=24, temperature=0, steering=steering)["text"]
    print(f"\n{name}: {PROMPT}{text}")

gpumcp.close()
