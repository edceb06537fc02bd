#!/usr/bin/env python3
"""Writes the folders beside this file: LoRA adapters of the random models in ../tiny_models, and what PEFT computes with them.

usage: make.py [SMOLLM2_FOLDER]     needs torch, transformers >= 5 and peft; a minute on a CPU, nothing is downloaded

NAME/adapter_config.json, adapter_model.safetensors   float32, as PEFT saves them
expected.json   {NAME: {"base", "ids", "logits": [tokens][vocabulary] of the last 3 tokens, "greedy": [ids behind the first 5]}}
smollm2.json    greedy ids behind prompts under an adapter whose weights both sides make by a formula: q_proj and v_proj of each
                layer, r 4, alpha 16; A[i, j] = 0.02 * sin(layer + 1 + i * 0.7 + j), B[i, j] = 0.02 * cos(layer + 1 + i + j * 0.7)
"""
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import peft
import torch
import transformers

here = pathlib.Path(__file__).parent
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Ranks and scales differ from module to module, and biased, capped and fused layers are among the bases, on purpose.
adapters = {
    "llama_all": ("llama", dict(r=4, lora_alpha=8, target_modules=ALL)),
    "llama_few": ("llama", dict(r=2, lora_alpha=3, use_rslora=True, target_modules=["q_proj", "v_proj"],
                                rank_pattern={"model.layers.1.self_attn.v_proj": 3}, alpha_pattern={"layers.0.self_attn.q_proj": 7})),
    "gemma2": ("gemma2", dict(r=3, lora_alpha=6, target_modules=ALL, layers_to_transform=[0, 2])),
    "qwen3": ("qwen3", dict(r=2, lora_alpha=4, target_modules=["o_proj", "up_proj"])),
    "gpt2": ("gpt2", dict(r=3, lora_alpha=6, target_modules=["c_attn", "c_fc", "c_proj"], fan_in_fan_out=True)),
}


def main():
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    expected = {}
    for number, (name, (base, settings)) in enumerate(adapters.items()):
        folder = here.parent / "tiny_models" / base
        model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", base_model_name_or_path=base, **settings))
        random = torch.Generator().manual_seed(number)
        for key, weight in sorted(model.named_parameters()):
            if "lora_" in key:
                weight.data = 0.4 * torch.randn(weight.shape, generator=random)
        model.peft_config["default"].base_model_name_or_path = base
        model.save_pretrained(here / name)
        (here / name / "README.md").unlink(missing_ok=True)
        (here / name / "adapter_model.safetensors").chmod(0o644)
        given = json.loads((folder / "expected.json").read_text())
        ids = torch.tensor([given["ids"][:12]])
        text = torch.tensor([given["short"]])
        for _ in range(8):
            text = torch.cat([text, model(input_ids=text).logits[:, -1:].argmax(-1)], 1)
        expected[name] = {"base": base, "ids": ids[0].tolist(), "logits": model(input_ids=ids).logits[0, -3:].tolist(),
                          "greedy": text[0, len(given["short"]):].tolist()}
    (here / "expected.json").write_text(json.dumps(expected) + "\n")
    if len(sys.argv) < 2:
        return
    model = transformers.AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(sys.argv[1])
    model = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
    for key, weight in model.named_parameters():
        if "lora_" not in key:
            continue
        layer = int(key.split("layers.")[1].split(".")[0])
        i = torch.arange(weight.shape[0], dtype=torch.float64)[:, None]
        j = torch.arange(weight.shape[1], dtype=torch.float64)[None]
        weight.data = (0.02 * (torch.sin(layer + 1 + i * 0.7 + j) if "lora_A" in key else torch.cos(layer + 1 + i + j * 0.7))).float()
    cases = []
    for prompt in ("Once upon a time", "The capital of France is", "To bake bread you need"):
        ids = tokenizer(prompt, return_tensors="pt").input_ids
        with model.disable_adapter():
            plain = model.generate(input_ids=ids, max_new_tokens=16, do_sample=False)[0, ids.shape[1]:].tolist()
        cases.append({"prompt": prompt, "plain": plain,
                      "adapted": model.generate(input_ids=ids, max_new_tokens=16, do_sample=False)[0, ids.shape[1]:].tolist()})
        print(prompt, tokenizer.decode(cases[-1]["adapted"]))
    (here / "smollm2.json").write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
