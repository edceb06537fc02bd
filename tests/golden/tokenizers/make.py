#!/usr/bin/env python3
"""Makes NAME.jsonl beside this file: what the package `tokenizers` (0.23.3) makes of ../minilm/texts.jsonl.

Usage: make.py FOLDER NAME...     FOLDER/NAME/tokenizer.json: what scripts/fetch tokenizers puts into the cache
A line a text: id; ids, without special tokens and not truncated; front, the special tokens that stand before them when
they are asked for; decoded, with special tokens, only where it differs from the text; decoded_skip, without them, only
where that differs again.
"""
import json
import pathlib
import sys

from tokenizers import Tokenizer

here = pathlib.Path(__file__).parent
texts = [json.loads(line) for line in (here / "../minilm/texts.jsonl").read_text().splitlines()]
for name in sys.argv[2:]:
    tokenizer = Tokenizer.from_file(str(pathlib.Path(sys.argv[1]) / name / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    with open(here / f"{name}.jsonl", "w") as out:
        for text in texts:
            ids = tokenizer.encode(text["text"], add_special_tokens=False).ids
            whole = tokenizer.encode(text["text"]).ids
            front = whole[: len(whole) - len(ids)]
            assert whole[len(front):] == ids, (name, text["id"])
            row = {"id": text["id"], "ids": ids, "front": front}
            decoded = tokenizer.decode(ids, skip_special_tokens=False)
            skipped = tokenizer.decode(ids, skip_special_tokens=True)
            if decoded != text["text"]:
                row["decoded"] = decoded
            if skipped != decoded:
                row["decoded_skip"] = skipped
            out.write(json.dumps(row, separators=(",", ":")) + "\n")
