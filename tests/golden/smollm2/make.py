#!/usr/bin/env python3
"""Writes the files beside this one: what transformers computes with SmolLM2-135M-Instruct as `scripts/fetch smollm2` makes it.

usage: make.py [MODEL_FOLDER]        needs torch, transformers >= 5 and numpy; a minute on a CPU, nothing is downloaded

generations.jsonl   a line a prompt: {"prompt" or "messages", "ids": [of the prompt], "greedy": [ids that follow, with the
                    end token if it came], "text": the same as text, "margin": the least distance of the two best scores}
last_hidden.npy     float32 [prompts, 576]: hidden_states[-1] at each prompt's last token
last_logits.npy     float32 [prompts, 64]: the scores of the tokens 0, 768, 1536, … there
Float32, default attention, one thread.
"""
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import torch
import transformers

NEW_TOKENS, EVERY = 48, 768
RAW = [
    "The capital of France is",
    "Once upon a time, in a small village by the sea,",
    "def fibonacci(n):\n    ",
    "The quick brown fox",
    "Water boils at a temperature of",
    "1, 1, 2, 3, 5, 8,",
    "Dear Sir or Madam,\n\nI am writing to",
    "# Shopping list\n- apples\n-",
    "In 1969, the first humans",
    "The following is a list of the planets of the solar system: Mercury, Venus,",
]
CHAT = [
    [("user", "What is the capital of France? Answer in one sentence.")],
    [("user", "Write a haiku about the sea.")],
    [("system", "You answer like a pirate."), ("user", "How are you today?")],
    [("user", "Name three primary colors.")],
    [("user", "Translate to Spanish: Good morning, my friend.")],
    [("user", "Hi!"), ("assistant", "Hello! How can I help you today?"), ("user", "What is 2 + 2?")],
    [("user", "Explain gravity to a child.")],
    [("user", "Write a Python function that reverses a string.")],
    [("user", "Café, naïve, 日本語, 🙂: which of these words has an accent?")],
    [("system", "You are terse."), ("user", "Is the earth flat?")],
]

folder = sys.argv[1] if len(sys.argv) > 1 else os.path.expanduser("~/.cache/gpumcp/models/HuggingFaceTB--SmolLM2-135M-Instruct")
here = pathlib.Path(__file__).parent
torch.set_num_threads(1)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def prompts():
    for text in RAW:
        yield {"prompt": text}, text
    for turns in CHAT:
        messages = [{"role": role, "content": content} for role, content in turns]
        yield {"messages": messages}, tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


lines, hidden, logits = [], [], []
with torch.inference_mode():
    for line, text in prompts():
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW_TOKENS, do_sample=False,
                             output_scores=True, return_dict_in_generate=True)
        new = out.sequences[0, ids.shape[1]:].tolist()
        best = torch.stack([score[0].topk(2).values for score in out.scores])
        lines.append({**line, "ids": ids[0].tolist(), "greedy": new, "text": tokenizer.decode(new, skip_special_tokens=True),
                      "margin": round((best[:, 0] - best[:, 1]).min().item(), 5)})
        states = model(ids, output_hidden_states=True)
        hidden.append(states.hidden_states[-1][0, -1])
        logits.append(states.logits[0, -1, ::EVERY])
        print(f"{lines[-1]['margin']:.5f} {lines[-1]['text'][:90]!r}")

(here / "generations.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
np.save(here / "last_hidden.npy", torch.stack(hidden).numpy())
np.save(here / "last_logits.npy", torch.stack(logits).numpy())
print("transformers", transformers.__version__, "torch", torch.__version__)
