#!/usr/bin/env python3
"""Writes the tables of docs/models.md from what the tests say that they measured.

usage: parity_table.py [BUILD_FOLDER]     the default is build/release; runs gpu_runtime_torch_test, a minute or two
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOC = ROOT / "docs/models.md"
TABLES = {"hidden states differ by": "hidden", "logits differ by": "logits", "scores differ by": "scores"}


def figures(output):
    """{kind: {model: number}}; a model's adapters are "lora"."""
    found = {"hidden": {}, "logits": {}, "scores": {}, "lora": {}}
    for line in output.splitlines():
        said = re.search(r"(\w+)_test\.cpp:\d+: MESSAGE: (\w+): (hidden states|logits|scores) differ by ([-+.e\d]+)", line)
        if said:
            file, model, what, number = said.groups()
            kind = "lora" if file == "lora" else TABLES[f"{what} differ by"]
            found[kind][model] = max(float(number), found[kind].get(model, 0))
    return found


def table(heads, rows):
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads), *("| " + " | ".join(row) + " |" for row in rows)])


def show(number):
    return "" if number is None else f"{number:.1e}"


def main():
    build = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build/release"
    run = subprocess.run([build / "bin/gpu_runtime_torch_test", "-tc=*hidden states*,*logits*,*scores of pairs*"], text=True, capture_output=True)
    if run.returncode:
        sys.exit(run.stdout)
    found = figures(run.stdout)
    if not all(found.values()):
        sys.exit(f"the tests did not say: {', '.join(kind for kind, rows in found.items() if not rows)}")
    tables = {
        "models": table(["model", "hidden states of every layer", "logits"],
                        [[name, show(found["hidden"][name]), show(found["logits"].get(name))] for name in sorted(found["hidden"])]),
        "cross-encoders": table(["model", "scores of pairs"], [[name, show(one)] for name, one in sorted(found["scores"].items())]),
        "adapters": table(["adapter", "logits"], [[name, show(one)] for name, one in sorted(found["lora"].items())]),
    }
    text = DOC.read_text()
    for name, rows in tables.items():
        text, count = re.subn(rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m: m[1] + rows + "\n" + m[2], text, flags=re.S)
        if count != 1:
            sys.exit(f"{DOC}: there is no place for the table of {name}")
    DOC.write_text(text)


main()
