#!/usr/bin/env python3
"""Writes the files beside this one: what transformers computes at the places inside its layers that taps read and change.

usage: make.py [SMOLLM2_FOLDER]     needs torch, transformers >= 5 and numpy; a minute on a CPU, nothing is downloaded

NAME.safetensors   of each tiny decoder of ../tiny_models, for the first 12 of its "ids", at the last 4 of them: the sites of layer 1
                   by their short names (pattern: [heads, 4, 12]), final_norm, "lens" (the scores that layer 0's output gives by way of
                   the final norm and the head), and scores after edits: "added" (layer 0's output plus 2 * wave(width), from token 3
                   on), "ablated" (wave's direction taken out of every layer's output), "replaced" (z of layer 1 at tokens 2 and 5 made
                   wave(z width) and twice that)
qkv.safetensors    "MODEL.q", "MODEL.k", "MODEL.v": what layer 1's projections give at the same tokens, before norms and rotation
smollm2.json       greedy ids behind prompts, plain and while wave(576) * scale is added to layers' output from a token on
wave(n) is sin(1), sin(2), … sin(n). Float32, eager attention, one thread.
"""
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import safetensors.torch
import torch
import transformers

here = pathlib.Path(__file__).parent
TOKENS, LAST = 12, 4
torch.set_num_threads(1)


def wave(n):
    return torch.sin(torch.arange(1, n + 1, dtype=torch.float64)).float()


class Parts:
    """Where transformers' modules keep what a site names."""

    def __init__(self, model):
        body = model.transformer if hasattr(model, "transformer") else getattr(model, "language_model", None) or model.model
        self.gpt2 = hasattr(body, "h")
        self.layers = body.h if self.gpt2 else body.layers
        self.norm = body.ln_f if self.gpt2 else body.norm

    def reading(self, i):
        """Of layer i: site -> (module, whether its input counts)."""
        layer = self.layers[i]
        if self.gpt2:
            return {"resid_pre": (layer, True), "z": (layer.attn.c_proj, True), "attn_out": (layer.attn, False),
                    "resid_mid": (layer.ln_2, True), "mlp_post": (layer.mlp.c_proj, True), "mlp_out": (layer.mlp, False),
                    "resid_post": (layer, False)}
        behind = hasattr(layer, "pre_feedforward_layernorm")
        return {"resid_pre": (layer, True), "z": (layer.self_attn.o_proj, True),
                "attn_out": (layer.post_attention_layernorm if behind else layer.self_attn, False),
                "resid_mid": (layer.pre_feedforward_layernorm if behind else layer.post_attention_layernorm, True),
                "mlp_post": (layer.mlp.down_proj, True),
                "mlp_out": (layer.post_feedforward_layernorm if behind else layer.mlp, False), "resid_post": (layer, False)}


def first(value):
    return value[0] if isinstance(value, tuple) else value


def hook_output(module, change):
    def hook(_, __, output):
        changed = change(first(output))
        return (changed, *output[1:]) if isinstance(output, tuple) else changed
    return module.register_forward_hook(hook)


def read(model, ids):
    parts, out, hooks = Parts(model), {}, []
    for site, (module, is_input) in parts.reading(1).items():
        if is_input:
            hooks.append(module.register_forward_pre_hook(
                lambda _, args, kwargs, site=site: out.__setitem__(site, (args[0] if args else kwargs["hidden_states"])[0]), with_kwargs=True))
        else:
            hooks.append(module.register_forward_hook(lambda _, __, o, site=site: out.__setitem__(site, first(o)[0])))
    hooks.append(parts.norm.register_forward_hook(lambda _, __, o: out.__setitem__("final_norm", o[0])))
    with torch.no_grad():
        result = model(ids, output_attentions=True, output_hidden_states=True)
        for hook in hooks:
            hook.remove()
        lens = model.lm_head(parts.norm(result.hidden_states[1]))
    cap = getattr(model.config, "final_logit_softcapping", None)
    out["lens"] = (torch.tanh(lens / cap) * cap if cap else lens)[0]
    out["pattern"] = result.attentions[1][0]
    return {k: (v[:, -LAST:] if k == "pattern" else v[-LAST:]).float().contiguous().clone() for k, v in out.items()}


def projections(model, ids):
    parts, out, hooks = Parts(model), {}, []
    layer = parts.layers[1]
    names = {"c_attn": layer.attn.c_attn} if parts.gpt2 else {one: getattr(layer.self_attn, one + "_proj") for one in "qkv"}
    for name, module in names.items():
        hooks.append(module.register_forward_hook(lambda _, __, o, name=name: out.__setitem__(name, o[0, -LAST:])))
    with torch.no_grad():
        model(ids)
    for hook in hooks:
        hook.remove()
    if parts.gpt2:
        out = dict(zip("qkv", out["c_attn"].chunk(3, -1)))
    return {k: v.float().contiguous().clone() for k, v in out.items()}


def scores(model, ids, hooks):
    with torch.no_grad():
        result = model(ids).logits[0, -LAST:]
    for hook in hooks:
        hook.remove()
    return result.float().contiguous().clone()


def edited(model, ids):
    parts = Parts(model)
    d = model.config.hidden_size
    v = wave(d)

    def add(x):
        x = x.clone()
        x[:, 3:] += 2 * v
        return x

    def ablate(x):
        unit = v / v.norm()
        return x - (x @ unit).unsqueeze(-1) * unit

    def replace(_, args):
        x = args[0].clone()
        x[0, 2], x[0, 5] = wave(x.shape[-1]), 2 * wave(x.shape[-1])
        return (x,)

    return {"added": scores(model, ids, [hook_output(parts.layers[0], add)]),
            "ablated": scores(model, ids, [hook_output(layer, ablate) for layer in parts.layers]),
            "replaced": scores(model, ids, [parts.reading(1)["z"][0].register_forward_pre_hook(replace)])}


def main():
    qkv = {}
    for folder in sorted((here.parent / "tiny_models").iterdir()):
        if not (folder / "config.json").exists():
            continue
        config = transformers.AutoConfig.from_pretrained(folder)
        if not (folder / "logits.npy").exists() or not hasattr(config, "num_hidden_layers"):
            continue
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        ids = torch.tensor([json.loads((folder / "expected.json").read_text())["ids"][:TOKENS]])
        safetensors.torch.save_file({**read(model, ids), **edited(model, ids)}, here / f"{folder.name}.safetensors")
        qkv.update({f"{folder.name}.{key}": value for key, value in projections(model, ids).items()})
    safetensors.torch.save_file(qkv, here / "qkv.safetensors")

    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.expanduser("~/.cache/gpumcp/models/HuggingFaceTB--SmolLM2-135M-Instruct")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    cases = []
    for prompt, edits in [("The capital of France is", []), ("The capital of France is", [[10, 3.0, 0]]),
                          ("Once upon a time, in a small village by the sea,", [[8, -2.0, 0], [15, 2.0, 4]])]:
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        seen, hooks = [0], []
        for layer, scale, begin in edits:
            def add(x, scale=scale, begin=begin):
                x = x.clone()
                skip = max(0, begin - seen[0])
                x[:, skip:] += scale * wave(x.shape[-1])
                return x
            hooks.append(hook_output(model.model.layers[layer], add))
        chosen, cache, new, margin = [], None, ids, 1e9
        with torch.no_grad():
            for _ in range(24):
                out = model(new, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                seen[0] += new.shape[1]
                best = out.logits[0, -1].topk(2)
                margin = min(margin, float(best.values[0] - best.values[1]))
                new = best.indices[:1].view(1, 1)
                chosen.append(int(new))
        for hook in hooks:
            hook.remove()
        cases.append({"prompt": prompt, "ids": ids[0].tolist(), "edits": edits, "greedy": chosen, "margin": margin,
                      "text": tokenizer.decode(chosen)})
        print(cases[-1])
    (here / "smollm2.json").write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
