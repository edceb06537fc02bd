#!/usr/bin/env python3
"""Writes expected.json: what a few lines of transformers compute of SmolLM2-135M-Instruct where the interface
interpretability has a tool.

usage: make.py [MODEL_FOLDER]     needs torch, transformers >= 5; a minute on a CPU, nothing is downloaded. Float32, one thread.
"""
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import safetensors.torch
import torch
import transformers

HELLO = ["The capital of France is", "Paris is lovely in the spring, they say."]
POSITIVE = ["I love this film.", "What a wonderful day!", "This is the best meal ever.", "She was delighted with the gift."]
NEGATIVE = ["I hate this film.", "What an awful day!", "This is the worst meal ever.", "She was disappointed with the gift."]
CLEAN, CORRUPTED, ANSWER, WRONG = "The capital of France is", "The capital of Italy is", " Paris", " Rome"
LAYER, STRENGTH, NEW_TOKENS = 12, 3.0, 24
STEERED = "I went to the restaurant and the food was"

folder = sys.argv[1] if len(sys.argv) > 1 else os.path.expanduser("~/.cache/gpumcp/models/HuggingFaceTB--SmolLM2-135M-Instruct")
torch.set_num_threads(1)
torch.set_grad_enabled(False)
tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
layers = model.model.layers


def ids_of(text):
    return tokenizer(text, return_tensors="pt").input_ids


def hidden(text, layer):
    """What layer `layer` puts out, [tokens, width]."""
    out = {}
    hook = layers[layer].register_forward_hook(lambda _, __, o: out.__setitem__("x", (o[0] if isinstance(o, tuple) else o)[0]))
    model(ids_of(text))
    hook.remove()
    return out["x"].clone()


def changing(module, change):
    def hook(_, __, o):
        return (change(o[0]), *o[1:]) if isinstance(o, tuple) else change(o)
    return module.register_forward_hook(hook)


def end_scores(ids, hooks=()):
    scores = model(ids).logits[0, -1]
    for hook in hooks:
        hook.remove()
    return scores


def greedy(text, hooks=()):
    ids = ids_of(text)
    start = ids.shape[1]
    for _ in range(NEW_TOKENS):
        ids = torch.cat([ids, model(ids).logits[0, -1].argmax().view(1, 1)], 1)
    for hook in hooks:
        hook.remove()
    return tokenizer.decode(ids[0, start:])


vector = torch.stack([hidden(t, LAYER)[-1] for t in POSITIVE]).mean(0) - torch.stack([hidden(t, LAYER)[-1] for t in NEGATIVE]).mean(0)
unit = vector / vector.norm()
ablate = lambda x: x - (x @ unit).unsqueeze(-1) * unit
# Taken out of all that is added up, it is nowhere in the sum.
ablation = lambda: [changing(model.model.embed_tokens, ablate)] + [
    changing(part, ablate) for layer in layers for part in (layer.self_attn, layer.mlp)]

lens = {}
for layer in (14, 29):
    p = model.lm_head(model.model.norm(hidden(CLEAN, layer)[-1])).softmax(-1)
    right = tokenizer(ANSWER).input_ids[0]
    lens[layer] = {"best": tokenizer.decode(p.argmax()), "best_p": float(p.max()), "target": float(p[right]), "rank": int((p > p[right]).sum())}

right, wrong = tokenizer(ANSWER).input_ids[0], tokenizer(WRONG).input_ids[0]
difference = lambda scores: float(scores[right] - scores[wrong])
clean, corrupted = difference(end_scores(ids_of(CLEAN))), difference(end_scores(ids_of(CORRUPTED)))
effects = []
for layer in (5, 20):
    good, row = hidden(CLEAN, layer), []
    for token in range(ids_of(CLEAN).shape[1]):
        def patch(x, token=token):
            x = x.clone()
            x[0, token] = good[token]
            return x
        row.append((difference(end_scores(ids_of(CORRUPTED), [changing(layers[layer], patch)])) - corrupted) / (clean - corrupted))
    effects.append(row)

weight = safetensors.torch.load_file(pathlib.Path(folder) / "model.safetensors")["model.layers.3.mlp.down_proj.weight"].double()
pattern = model(ids_of(CLEAN), output_attentions=True).attentions[7][0]
mean_hidden = torch.stack([hidden(t, LAYER).mean(0) for t in HELLO])
expected = {
    "hello": HELLO, "positive": POSITIVE, "negative": NEGATIVE, "clean": CLEAN, "corrupted": CORRUPTED, "answer": ANSWER, "wrong": WRONG,
    "layer": LAYER, "strength": STRENGTH, "steered_prompt": STEERED, "new_tokens": NEW_TOKENS,
    "last": [hidden(t, LAYER)[-1, :8].tolist() for t in HELLO], "last_norm": sum(float(hidden(t, LAYER)[-1].norm()) for t in HELLO) / 2,
    "mean": mean_hidden[:, :8].tolist(),
    "contrast": vector[:8].tolist(), "contrast_norm": float(vector.norm()),
    "lens": lens, "clean_difference": clean, "corrupted_difference": corrupted, "effects": effects,
    "weight": {"shape": list(weight.shape), "mean": float(weight.mean()), "std": float(weight.std(unbiased=False)), "norm": float(weight.norm())},
    "pattern_last": pattern[:, -1].tolist(),
    "plain": greedy(STEERED),
    "steered": greedy(STEERED, [changing(layers[LAYER], lambda x: x + STRENGTH * vector)]),
    "steered_away": greedy(STEERED, [changing(layers[LAYER], lambda x: x - STRENGTH * vector)]),
    "ablated": greedy(STEERED, ablation()),
}
for key in ("plain", "steered", "steered_away", "ablated"):
    print(key, repr(expected[key]))
text = json.dumps(json.loads(json.dumps(expected), parse_float=lambda t: float(f"{float(t):.7g}")), indent=1)
(pathlib.Path(__file__).parent / "expected.json").write_text(text + "\n")
