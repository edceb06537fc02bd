#!/usr/bin/env python3
"""Writes tiny.json: what transformers computes of random models of ../tiny_models where the interfaces language_model and
interpretability have a tool.

usage: make_tiny.py     needs torch, transformers >= 5; seconds on a CPU, nothing is downloaded. Float32, eager attention, one thread.

The models have no tokenizer. The test gives them one in which the text "w7 w42" is the tokens 7 and 42, so texts stand here so.
"""
import importlib.util
import json
import os
import pathlib

os.environ["HF_HUB_OFFLINE"] = "1"
import torch
import transformers

here = pathlib.Path(__file__).parent
spec = importlib.util.spec_from_file_location("taps_make", here.parent / "taps" / "make.py")
taps = importlib.util.module_from_spec(spec)
spec.loader.exec_module(taps)  # where transformers' modules keep what a site names

MODELS = ["llama", "qwen2", "gemma2", "gemma3", "gpt2"]
LAYER, STRENGTH, NEW_TOKENS = 1, 1.5, 6
torch.set_num_threads(1)
torch.set_grad_enabled(False)


def words(ids):
    return " ".join(f"w{i}" for i in ids)


def run(model, ids, hooks=(), **more):
    out = model(torch.tensor([ids]), **more)
    for hook in hooks:
        hook.remove()
    return out


def after(model, layer, ids):
    """What layer `layer` puts out, [tokens, width]."""
    out = {}
    hook = taps.Parts(model).layers[layer].register_forward_hook(lambda _, __, o: out.__setitem__("x", taps.first(o)[0].clone()))
    run(model, ids, [hook])
    return out["x"]


def sites(model, ids):
    """Each site of LAYER at the last token, flat."""
    parts, out, hooks = taps.Parts(model), {}, []
    for site, (module, is_input) in parts.reading(LAYER).items():
        if is_input:
            hooks.append(module.register_forward_pre_hook(
                lambda _, args, kwargs, site=site: out.__setitem__(site, (args[0] if args else kwargs["hidden_states"])[0, -1].clone()),
                with_kwargs=True))
        else:
            hooks.append(module.register_forward_hook(lambda _, __, o, site=site: out.__setitem__(site, taps.first(o)[0, -1].clone())))
    run(model, ids, hooks)
    projected = {k: v[-1] for k, v in taps.projections(model, torch.tensor([ids])).items()}
    return {key: value.flatten().tolist() for key, value in {**out, **projected}.items()}


def best(logits, count=5):
    top = logits.softmax(-1).topk(count)
    return {"ids": top.indices.tolist(), "probabilities": top.values.tolist()}


def scores(model, ids, hooks=()):
    """log p of each token but the first."""
    logs = run(model, ids, hooks).logits[0].log_softmax(-1)
    return [float(logs[i, token]) for i, token in enumerate(ids[1:])]


def greedy(model, ids, hooks):
    text = list(ids)
    while len(text) < len(ids) + NEW_TOKENS and text[-1] != model.config.eos_token_id:
        text.append(int(model(torch.tensor([text])).logits[0, -1].argmax()))
    for hook in hooks:
        hook.remove()
    return words(i for i in text[len(ids):] if i > 2)  # the others are special


def contrast(model, positive, negative):
    a, b = [torch.stack([after(model, LAYER, ids)[-1] for ids in some]).double() for some in (positive, negative)]
    vector = a.mean(0) - b.mean(0)
    unit = vector / vector.norm()
    pa, pb = a @ unit, b @ unit
    middle = (pa.mean() + pb.mean()) / 2
    return vector.float(), {"vector": vector.tolist(), "norm": float(vector.norm()),
                            "effect": float((pa.mean() - pb.mean()) / ((pa.var() + pb.var()) / 2).sqrt()),
                            "accuracy": float(((pa > middle).sum() + (pb < middle).sum()) / (len(pa) + len(pb)))}


def lens(model, ids, answer):
    parts = taps.Parts(model)
    cap = getattr(model.config, "final_logit_softcapping", None)
    out = []
    for layer in range(len(parts.layers)):
        logits = model.lm_head(parts.norm(after(model, layer, ids)[-1]))
        p = (torch.tanh(logits / cap) * cap if cap else logits).softmax(-1)
        out.append({**best(p.log(), 2), "target": float(p[answer]), "rank": int((p > p[answer]).sum())})
    return out


def answers(model, clean, corrupted):
    """The tokens whose odds differ most between the two texts, so that there is something to restore."""
    gain = scores_behind(model, clean) - scores_behind(model, corrupted)
    gain[:3] = 0  # special tokens
    return int(gain.argmax()), int(gain.argmin())


def scores_behind(model, ids):
    return run(model, ids).logits[0, -1].double().log_softmax(-1)


def patching(model, clean, corrupted, answer, wrong):
    parts = taps.Parts(model)
    measure = lambda logits: float(logits[0, -1, answer].double() - logits[0, -1, wrong].double())
    whole, base = measure(run(model, clean).logits), measure(run(model, corrupted).logits)
    effects = []
    for layer in range(len(parts.layers)):
        good, row = after(model, layer, clean), []
        for token in range(len(clean)):
            def patch(x, token=token, good=good):
                x = x.clone()
                x[0, token] = good[token]
                return x
            row.append((measure(run(model, corrupted, [taps.hook_output(parts.layers[layer], patch)]).logits) - base) / (whole - base))
        effects.append(row)
    return {"clean": whole, "corrupted": base, "effects": effects}


def of(name):
    folder = here.parent / "tiny_models" / name
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    parts = taps.Parts(model)
    ids = json.loads((folder / "expected.json").read_text())["ids"]
    text, sets = ids[:12], [[ids[0:6], ids[6:11], ids[11:18]], [ids[18:24], ids[24:29], ids[29:36]]]
    corrupted = text[:7] + [ids[20]] + text[8:]
    answer, wrong = answers(model, text, corrupted)
    vector, told = contrast(model, *sets)
    unit = vector / vector.norm()

    def add(scale, places=None):
        def change(x):
            x = x.clone()
            x[:, places if places else slice(None)] += scale * vector
            return x
        return change

    ablate = lambda x: x - (x @ unit).unsqueeze(-1) * unit

    def ablation():
        """Taken out of what comes in and of all that is added, it is nowhere in the sum."""
        hooks = [parts.layers[0].register_forward_pre_hook(lambda _, args: (ablate(args[0]), *args[1:]))]
        for i in range(len(parts.layers)):
            hooks += [taps.hook_output(parts.reading(i)[site][0], ablate) for site in ("attn_out", "mlp_out")]
        return hooks

    steered = lambda: [taps.hook_output(parts.layers[LAYER], add(STRENGTH))]
    in_mlp = lambda: [taps.hook_output(parts.reading(0)["mlp_out"][0], add(-STRENGTH, [3, len(text) - 1]))]
    pattern = run(model, text, output_attentions=True).attentions[LAYER][0]
    layer_out = after(model, LAYER, text)
    return {
        "text": words(text), "corrupted": words(corrupted), "positive": [words(i) for i in sets[0]], "negative": [words(i) for i in sets[1]],
        "sites": sites(model, text), "mean": layer_out.mean(0).tolist(), "first_and_fourth": layer_out[[0, 3]].flatten().tolist(),
        "normalized": parts.norm(after(model, len(parts.layers) - 1, text)[-1]).tolist(),
        "contrast": told, "lens": lens(model, text, answer),
        "answer": words([answer]), "wrong": words([wrong]), "patching": patching(model, text, corrupted, answer, wrong),
        "pattern": {"last": pattern[:, -1].flatten().tolist(), "on_first": float(pattern.mean(0)[:, 0].mean()),
                    "on_previous": float(pattern.mean(0).diagonal(-1).mean()), "on_self": float(pattern.mean(0).diagonal().mean())},
        "next": best(run(model, text).logits[0, -1]), "scores": scores(model, text),
        "steered": best(run(model, text, steered()).logits[0, -1]), "steered_scores": scores(model, text, steered()),
        "steered_text": greedy(model, text, steered()), "plain_text": greedy(model, text, []),
        "steered_in_mlp": best(run(model, text, in_mlp()).logits[0, -1]), "ablated": best(run(model, text, ablation()).logits[0, -1])}


expected = {"layer": LAYER, "strength": STRENGTH, "new_tokens": NEW_TOKENS,
            "models": {name: of(name) for name in MODELS}}
text = json.dumps(json.loads(json.dumps(expected), parse_float=lambda t: float(f"{float(t):.7g}")), separators=(",", ":"))
(here / "tiny.json").write_text(text.replace('},"', '},\n"').replace('],"', '],\n"') + "\n")
for name, one in expected["models"].items():
    print(name, one["plain_text"], "|", one["steered_text"], one["contrast"]["effect"], one["contrast"]["accuracy"])
