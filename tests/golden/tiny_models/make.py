#!/usr/bin/env python3
"""Writes the folders beside this file: random models of a few thousand weights, and what transformers computes with them.

usage: make.py [OUT_DIR]        needs torch, transformers >= 5 and numpy; seconds on a CPU, nothing is downloaded

NAME/config.json, config.old.json   the same model in the keys of transformers 5 and of transformers 4 (where they differ)
NAME/model*.safetensors             bfloat16, float16 for qwen2, float32 for gpt2; qwen3 comes in shards
NAME/expected.json                  {"ids", "short": [ids], "greedy": [ids that follow "short"]}
NAME/hidden.npy                     float32 [layers + 1, tokens, hidden] for "ids": embeddings, then each layer
NAME/logits.npy                     float32 [tokens, vocabulary] (not for encoders)
All in float32 with eager attention on one thread.
"""
import json
import os
import pathlib
import sys

os.environ["HF_HUB_OFFLINE"] = "1"
import numpy as np
import torch
import transformers as t

VOCABULARY, TOKENS, SHORT, GREEDY = 96, 40, 5, 12
special = dict(pad_token_id=0, bos_token_id=1, eos_token_id=2)
grouped = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_attention_heads=4,
               num_key_value_heads=2, max_position_embeddings=64, **special)
encoder = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_attention_heads=4,
               num_hidden_layers=2, max_position_embeddings=64)
plain = {"rope_type": "default", "rope_theta": 10000.0}
slow = {"rope_type": "default", "rope_theta": 1000000.0}
llama3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
          "high_freq_factor": 4.0, "original_max_position_embeddings": 16}
S, F = "sliding_attention", "full_attention"
# Head sizes and query scales differ from their defaults on purpose, and windows are shorter than the text.
models = {
    "llama": (t.LlamaForCausalLM, t.LlamaConfig(**grouped, num_hidden_layers=2, rope_parameters=llama3, tie_word_embeddings=True)),
    "llama_biased": (t.LlamaForCausalLM, t.LlamaConfig(**grouped, num_hidden_layers=2, head_dim=12, attention_bias=True, mlp_bias=True, rope_parameters=plain, tie_word_embeddings=False)),
    "mistral": (t.MistralForCausalLM, t.MistralConfig(**grouped, num_hidden_layers=2, sliding_window=8, rope_parameters=plain)),
    "qwen2": (t.Qwen2ForCausalLM, t.Qwen2Config(**grouped, num_hidden_layers=3, use_sliding_window=True, sliding_window=8, max_window_layers=1, rope_parameters=slow, tie_word_embeddings=True)),
    "qwen3": (t.Qwen3ForCausalLM, t.Qwen3Config(**grouped, num_hidden_layers=2, head_dim=16, rope_parameters=slow, tie_word_embeddings=False)),
    "gemma2": (t.Gemma2ForCausalLM, t.Gemma2Config(**grouped, num_hidden_layers=3, head_dim=16, query_pre_attn_scalar=12, sliding_window=8, attn_logit_softcapping=20.0, final_logit_softcapping=10.0, rope_parameters=plain)),
    "gemma3": (t.Gemma3ForCausalLM, t.Gemma3TextConfig(**grouped, num_hidden_layers=4, head_dim=16, query_pre_attn_scalar=12, sliding_window=8, layer_types=[S, S, F, S], rope_parameters={S: plain, F: {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0}})),
    "gemma3_bidirectional": (t.Gemma3TextModel, t.Gemma3TextConfig(**grouped, num_hidden_layers=2, head_dim=16, query_pre_attn_scalar=16, sliding_window=8, use_bidirectional_attention=True, layer_types=[S, F], rope_parameters={S: plain, F: slow})),
    "gpt2": (t.GPT2LMHeadModel, t.GPT2Config(vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4, **special)),
    "bert": (t.BertModel, t.BertConfig(**encoder, pad_token_id=0)),
    "roberta": (t.RobertaModel, t.RobertaConfig(**encoder, type_vocab_size=1, pad_token_id=1)),
    "xlm_roberta": (t.XLMRobertaModel, t.XLMRobertaConfig(**encoder, type_vocab_size=1, pad_token_id=1)),
    "distilbert": (t.DistilBertModel, t.DistilBertConfig(vocab_size=VOCABULARY, dim=32, hidden_dim=48, n_heads=4, n_layers=2, max_position_embeddings=64)),
    "mpnet": (t.MPNetModel, t.MPNetConfig(**encoder, pad_token_id=1)),
}
dtypes = {"qwen2": torch.float16, "gpt2": torch.float32}


def randomise(model, seed):
    """Far larger than trained weights would be, so that a forgotten key of config.json moves the numbers visibly."""
    random = torch.Generator().manual_seed(seed)
    done = set()
    for name, weight in sorted(model.named_parameters()):
        if weight.data_ptr() in done:
            continue
        done.add(weight.data_ptr())
        noise = torch.randn(weight.shape, generator=random)
        if weight.dim() == 1:
            around = 1.0 if "norm" in name.lower() or ".ln_" in name else 0.0
            if name.endswith("bias") or type(model).__name__.startswith("Gemma"):
                around = 0.0  # Gemma multiplies by 1 + weight
            weight.data = around + 0.2 * noise
        elif "embed" in name or "wte" in name or "wpe" in name or "relative_attention_bias" in name:
            weight.data = 0.4 * noise
        else:
            inputs = weight.shape[0] if type(model).__name__.startswith("GPT2") else weight.shape[1]
            sharp = any(part in name for part in ("q_proj", "k_proj", "query", "key", "q_lin", "k_lin", "attn.q", "attn.k"))
            weight.data = noise * (2.5 if sharp else 1.2) / inputs**0.5


def old_keys(name, config):
    """config.json as transformers 4 wrote it, or None where nothing differs."""
    rope = config.get("rope_parameters")
    if rope is None:
        return None
    old = {key: value for key, value in config.items() if key not in ("rope_parameters", "dtype", "layer_types")}
    old["torch_dtype"] = config["dtype"]
    if S in rope:
        old["rope_local_base_freq"] = rope[S]["rope_theta"]
        old["sliding_window_pattern"] = config["layer_types"].index(F) + 1
        rope = rope[F]
    old["rope_theta"] = rope["rope_theta"]
    scaling = {key: value for key, value in rope.items() if key != "rope_theta"}
    old["rope_scaling"] = scaling if scaling["rope_type"] != "default" else None
    return old


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__)))
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    ids = torch.randint(3, VOCABULARY, (1, TOKENS), generator=torch.Generator().manual_seed(7))
    for number, (name, (kind, config)) in enumerate(models.items()):
        config._attn_implementation = "eager"
        model = kind(config).eval()
        randomise(model, number)
        model.to(dtypes.get(name, torch.bfloat16))
        folder = out / name
        folder.mkdir(parents=True, exist_ok=True)
        model.save_pretrained(folder, **({"max_shard_size": "20KB"} if name == "qwen3" else {}))
        for weights in folder.glob("*.safetensors"):
            weights.chmod(0o644)
        (folder / "generation_config.json").unlink(missing_ok=True)
        written = json.loads((folder / "config.json").read_text())
        old = old_keys(name, written)
        if old:
            (folder / "config.old.json").write_text(json.dumps(old, indent=2) + "\n")
        model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        answer = model(ids, output_hidden_states=True)
        np.save(folder / "hidden.npy", torch.stack(answer.hidden_states)[:, 0].numpy())
        expected = {"ids": ids[0].tolist(), "short": ids[0, :SHORT].tolist()}
        if "logits" in answer:
            np.save(folder / "logits.npy", answer.logits[0].numpy())
            text = ids[:, :SHORT]
            for _ in range(GREEDY):  # computed whole each time: no cache that could be wrong
                text = torch.cat([text, model(text).logits[:, -1:].argmax(-1)], 1)
            expected["greedy"] = text[0, SHORT:].tolist()
        (folder / "expected.json").write_text(json.dumps(expected) + "\n")
        print(f"{name:22s}{sum(p.numel() for p in model.parameters()):7d} weights, largest |hidden| {answer.hidden_states[-1].abs().max():.2f}", expected.get("greedy", ""))


if __name__ == "__main__":
    main()
