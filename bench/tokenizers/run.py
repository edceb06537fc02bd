#!/usr/bin/env python3
"""Measures our tokenizers beside the package `tokenizers`, one thread each, the same texts, in turns.

Usage: run.py [--bin build/release/bin/tokenizer_bench] [--seconds S] [NAME...]      (pip install tokenizers==0.23.*)
The texts: English prose (Python's own help topics), Python code (its standard library), and the 347 texts in many
scripts of tests/golden/minilm; prose and code in pieces of about 500 characters. Per tokenizer and kind of text: MB/s of
UTF-8, ours one text a call and theirs by encode_batch (what is fastest for them), and by encode() one a call. The ids
must be equal. Times are CPU time (all is one thread), the best round of several, ours and theirs alternating.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

os.environ.update(TOKENIZERS_PARALLELISM="false", RAYON_NUM_THREADS="1")
from tokenizers import Tokenizer, __version__  # noqa: E402  (the variables come first)

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = pathlib.Path(os.environ.get("GPUMCP_CACHE") or pathlib.Path.home() / ".cache/gpumcp")
FOLDERS = {
    "minilm": CACHE / "models/sentence-transformers--all-MiniLM-L6-v2",
    **{name: CACHE / "tokenizers-3.7.2" / name for name in ("gpt2", "llama3", "qwen3", "gemma2", "gemma3")},
    "smollm2": CACHE / "models/HuggingFaceTB--SmolLM2-135M-Instruct",
}


def pieces(text, size=500):
    """Pieces of about `size` characters, cut at blanks."""
    while text:
        end = text.find(" ", size)
        end = len(text) if end < 0 else end
        yield text[:end]
        text = text[end:]


def corpora():
    import pydoc_data.topics
    prose = [piece for topic in pydoc_data.topics.topics.values() for piece in pieces(topic)]
    library = pathlib.Path(os.__file__).parent
    names = ("argparse", "ast", "asyncio/base_events", "datetime", "decimal", "difflib", "doctest", "inspect", "pathlib",
             "subprocess", "tarfile", "typing")
    found = [library / f"{name}.py" for name in names]
    code = [piece for path in found if path.exists() for piece in pieces(path.read_text())]
    golden = [json.loads(line)["text"] for line in (ROOT / "tests/golden/minilm/texts.jsonl").read_text().splitlines()]
    return {"prose": prose, "code": code, "scripts": golden}


def checksum(encodings):
    total = 0
    for encoding in encodings:
        for token in encoding.ids:
            total = (total * 31 + token) % 1_000_000_007
    return total


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(FOLDERS))
    parser.add_argument("--bin", default=ROOT / "build/release/bin/tokenizer_bench")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each side, tokenizer and kind of text, a turn")
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    texts_of = corpora()
    print(f"tokenizers {__version__}; " + "; ".join(
        f"{kind}: {len(texts)} texts, {sum(len(t.encode()) for t in texts) / 1e6:.2f} MB" for kind, texts in texts_of.items()))
    print("| tokenizer | texts | ours MB/s | ours, batches of 256 | theirs, encode_batch | theirs, encode | times encode_batch |")
    print("|---|---|---|---|---|---|---|")
    slowest = 1e9
    for name in options.names:
        folder = FOLDERS[name]
        if not (folder / "tokenizer.json").exists():
            print(f"| {name} | not on this machine |||||")
            continue
        theirs = Tokenizer.from_file(str(folder / "tokenizer.json"))
        theirs.no_truncation()
        theirs.no_padding()
        for kind, texts in texts_of.items():
            size = sum(len(text.encode()) for text in texts) / 1e6
            lines = "".join(json.dumps(text) + "\n" for text in texts).encode()
            best = {"ours": 1e9, "ours batch": 1e9, "batch": 1e9, "single": 1e9}
            expected = checksum(theirs.encode_batch(texts))
            for _ in range(options.turns):
                for key, batch in (("ours", "1"), ("ours batch", "256")):
                    done = subprocess.run([options.bin, folder, str(options.seconds), batch], input=lines,
                                          capture_output=True)
                    if done.returncode != 0:
                        sys.exit(done.stderr.decode())
                    got = json.loads(done.stdout)
                    if got["ids"] != expected:
                        sys.exit(f"{name}, {kind}: the ids differ")
                    best[key] = min(best[key], got["seconds_a_round"])
                for key, run in (("batch", lambda: theirs.encode_batch(texts)),
                                 ("single", lambda: [theirs.encode(text) for text in texts])):
                    end = time.process_time() + options.seconds
                    while True:
                        began = time.process_time()
                        run()
                        now = time.process_time()
                        best[key] = min(best[key], now - began)
                        if now > end:
                            break
            times = best["batch"] / best["ours"]
            slowest = min(slowest, times)
            print(f"| {name} | {kind} | " + " | ".join(f"{size / best[key]:.1f}" for key in best) + f" | {times:.1f} |",
                  flush=True)
    print(f"least: {slowest:.1f} times")


main()
