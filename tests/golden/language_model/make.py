#!/usr/bin/env python3
"""Writes expected.json: what transformers says of texts, with SmolLM2-135M-Instruct as `scripts/fetch smollm2` makes it.

usage: make.py [MODEL_FOLDER]     needs torch, transformers >= 5; seconds on a CPU, nothing is downloaded. Float32, one thread.

A list of texts: {"text", "ids", "scores": [log p of each token but the first], "perplexity",
                  "next": {"ids", "tokens", "probabilities"} of the 20 likeliest behind it}
"""
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers

TEXTS = ["The capital of France is", "The capital of France is mice.", "Once upon a time, in a small village by the sea,",
         "def add(a, b):\n    return a + b\n", "Grüße aus Zürich: 東京は日本の首都です。", "zxqv wkjh 7#~ Paris Paris Paris"]

folder = sys.argv[1] if len(sys.argv) > 1 else os.path.expanduser("~/.cache/gpumcp/models/HuggingFaceTB--SmolLM2-135M-Instruct")
torch.set_num_threads(1)
torch.set_grad_enabled(False)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
out = []
for text in TEXTS:
    ids = tokenizer(text).input_ids
    result = model(torch.tensor([ids]), labels=torch.tensor([ids]))  # its loss is the mean over all tokens but the first
    logs = result.logits[0].log_softmax(-1)
    top = result.logits[0, -1].softmax(-1).topk(20)
    out.append({"text": text, "ids": ids, "scores": [float(logs[i, token]) for i, token in enumerate(ids[1:])],
                "perplexity": float(result.loss.exp()),
                "next": {"ids": top.indices.tolist(), "tokens": [tokenizer.decode([i]) for i in top.indices.tolist()],
                         "probabilities": top.values.tolist()}})
    print(repr(text), out[-1]["perplexity"], out[-1]["next"]["tokens"][:3])
text = json.dumps(json.loads(json.dumps(out), parse_float=lambda t: float(f"{float(t):.8g}")), ensure_ascii=False)
(pathlib.Path(__file__).parent / "expected.json").write_text(text.replace('}, {"text"', '},\n{"text"') + "\n")
