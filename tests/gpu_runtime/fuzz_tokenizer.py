#!/usr/bin/env python3
"""Compares tokenizer_tool with the `tokenizers` package on random Unicode texts.

Usage: fuzz_tokenizer.py TOOL MODEL_FOLDER [--texts N] [--seed S] [--ids-only]     (pip install tokenizers)
Each text goes through encode with offsets, encode without special tokens, encode of pairs, truncation to a
random length, and decode. It is done again with variants of the folder's tokenizer.json: other normalizer
settings, and added tokens of every kind. Prints the first differences; exit status 1 when there are any.
"""
import argparse
import itertools
import json
import pathlib
import random
import subprocess
import sys
import tempfile

from tokenizers import Tokenizer

BYTES = ["\u2581", "\u2581\u2581", "  ", "    ", "\n\n", "\r\n", "'S", "'ll", "'\u017f", "12345", "\u180e", "\u0120", "<0x0A>",
         "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<bos>", "<eos>", "<unk>", "<h1>", "<|eot_id|>", "\u0345", "\u1fb3"]
SPECIAL = ["[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "[mask]", "[", "]", "##", "##ing"]
ADDED = ["<one>", "<l>", "<r>", "<lr>", "Ünder", "two words", "<o"]
RANGES = [(0x20, 0x7E), (0x20, 0x7E), (0, 0x24F), (0x300, 0x36F), (0x370, 0x5FF), (0x600, 0x8FF), (0x900, 0xFFF),
          (0x1000, 0x1FFF), (0x2000, 0x2FFF), (0x3000, 0x9FFF), (0xA000, 0xD7FF), (0xE000, 0xFFFF), (0x10000, 0x11FFF),
          (0x12000, 0x1DFFF), (0x1E000, 0x1FFFF), (0x20000, 0x2FFFF), (0xE0000, 0xE01FF), (0, 0x10FFFF)]


def random_char(rng):
    while True:
        char = rng.randint(*rng.choice(RANGES))
        if not 0xD800 <= char < 0xE000:
            return chr(char)


def random_text(rng, words):
    parts = []
    low, high = rng.choice(RANGES)
    for _ in range(rng.choice((0, 1, 2, 3, 5, 8, 20))):
        kind = rng.random()
        if kind < 0.35:
            parts.append(rng.choice(words).removeprefix("##"))
        elif kind < 0.55:
            parts.append("".join(random_char(rng) for _ in range(rng.randint(1, 8))))
        elif kind < 0.7:
            run = (rng.randint(low, high) for _ in range(rng.randint(1, 12)))
            parts.append("".join(chr(c) for c in run if not 0xD800 <= c < 0xE000))
        elif kind < 0.8:
            parts.append(rng.choice("aeo") + "".join(chr(rng.choice((rng.randint(0x300, 0x345), rng.randint(0x1AB0, 0x1ACE),
                         rng.randint(0x302A, 0x302F), 0x1D165, 0x1D16D, 0x344, 0xF71))) for _ in range(rng.randint(1, 6))))
        elif kind < 0.9:
            parts.append(rng.choice(SPECIAL + ADDED + BYTES))
        elif kind < 0.92:
            parts.append(rng.choice("aé中x") * rng.randint(90, 120))
        parts.append(rng.choice(("", " ", " ", " ", "  ", "\t", "\n", "\u00a0", "\u3000", ".", "'s", "_")))
    return "".join(parts)


def variants(base):
    yield "as it is", base
    if base["model"].get("type") != "WordPiece":
        return
    for clean, chinese, strip, lower in ((0, 1, None, 1), (1, 0, None, 1), (1, 1, False, True), (1, 1, True, False),
                                         (0, 0, False, False), (1, 1, None, False)):
        changed = json.loads(json.dumps(base))
        changed["normalizer"].update(clean_text=bool(clean), handle_chinese_chars=bool(chinese), strip_accents=strip,
                                     lowercase=bool(lower))
        yield f"normalizer clean {clean} chinese {chinese} strip {strip} lower {lower}", changed
    changed = json.loads(json.dumps(base))
    size = len(base["model"]["vocab"])
    for i, (content, flags) in enumerate(zip(ADDED, ({"single_word": True}, {"lstrip": True}, {"rstrip": True},
                                             {"lstrip": True, "rstrip": True}, {"normalized": True},
                                             {"normalized": True, "single_word": True}, {}))):
        changed["added_tokens"].append({"id": size + i, "content": content, "single_word": False, "lstrip": False,
                                        "rstrip": False, "normalized": False, "special": i % 2 == 0, **flags})
    yield "added tokens of every kind", changed


def run(tool, folder, mode, lines, *extra):
    text = "".join(json.dumps(line) + "\n" for line in lines)
    done = subprocess.run([tool, str(folder), mode, *map(str, extra)], input=text, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{tool} failed: {done.stderr}")
    return [json.loads(line) for line in done.stdout.split("\n")[:-1]]


def as_dict(encoding, offsets=False):
    result = {"ids": encoding.ids, "type_ids": encoding.type_ids, "special": encoding.special_tokens_mask}
    if offsets:
        result["offsets"] = [list(pair) for pair in encoding.offsets]
    return result


def compare(name, inputs, ours, theirs, differences):
    assert len(inputs) == len(ours) == len(theirs), f"{name}: {len(inputs)} in, {len(ours)} out"
    for given, mine, other in zip(inputs, ours, theirs):
        if mine != other:
            differences.append(name)
            if len(differences) <= 10:
                print(f"{name}: {ascii(given)}\n  ours   {ascii(mine)}\n  theirs {ascii(other)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tool")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--texts", type=int, default=20000, help="per variant")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ids-only", action="store_true", help="only the ids of the folder's own tokenizer.json: four times faster")
    options = parser.parse_args()
    rng = random.Random(options.seed)
    base = json.loads((options.folder / "tokenizer.json").read_text())
    words = list(base["model"]["vocab"])
    differences, total = [], 0
    for name, content in variants(base):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "tokenizer.json"
            path.write_text(json.dumps(content))
            reference = Tokenizer.from_file(str(path))
            reference.no_truncation()
            reference.no_padding()
            texts = [random_text(rng, words) for _ in range(options.texts)]
            total += len(texts)
            theirs = reference.encode_batch(texts)
            if options.ids_only:
                compare(f"{name}: ids", texts, [e["ids"] for e in run(options.tool, folder, "encode", texts)],
                        [e.ids for e in theirs], differences)
                print(f"{name}: {total} texts, {len(differences)} differences")
                break
            if base["model"].get("type") == "BPE":
                compare(f"{name}: ids", texts, [e["ids"] for e in run(options.tool, folder, "encode", texts)],
                        [e.ids for e in theirs], differences)
            compare(f"{name}: encode", texts, run(options.tool, folder, "offsets", texts),
                    [as_dict(e, True) for e in theirs], differences)
            compare(f"{name}: plain", texts, run(options.tool, folder, "encode", texts), [as_dict(e) for e in theirs],
                    differences)
            part = texts[: len(texts) // 4]
            compare(f"{name}: no special", part, run(options.tool, folder, "plain", part),
                    [as_dict(e) for e in reference.encode_batch(part, add_special_tokens=False)], differences)
            queries = [{"ids": e.ids, "skip": skip} for e, skip in zip(theirs, itertools.cycle((True, False)))]
            queries += [{"ids": [rng.randrange(len(words) + 20) for _ in range(rng.randint(0, 20))], "skip": False}
                        for _ in range(len(texts) // 4)]
            compare(f"{name}: decode", queries, run(options.tool, folder, "decode", queries),
                    [reference.decode(q["ids"], skip_special_tokens=q["skip"]) for q in queries], differences)
            for length in (3, rng.randint(4, 12), rng.randint(13, 40)):
                pairs = list(zip(part[::2], part[1::2]))
                reference.enable_truncation(length)
                compare(f"{name}: pairs cut to {length}", pairs, run(options.tool, folder, "offsets", pairs, length),
                        [as_dict(e, True) for e in reference.encode_batch(pairs)], differences)
                compare(f"{name}: cut to {length}", part, run(options.tool, folder, "encode", part, length),
                        [as_dict(e) for e in reference.encode_batch(part)], differences)
            reference.no_truncation()
        print(f"{name}: {len(texts)} texts, {len(differences)} differences so far", flush=True)
    print(f"{total} texts, {len(differences)} differences")
    sys.exit(1 if differences else 0)


main()
