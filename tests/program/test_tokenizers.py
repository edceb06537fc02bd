"""Our tokenizers against the package `tokenizers` on random texts: a short run of tests/gpu_runtime/fuzz_tokenizer.py
for each tokenizer that is on the machine. A long one: fuzz_tokenizer.py TOOL FOLDER --texts 100000.
"""

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import BIN, ROOT

TOOL = BIN.parent / "tokenizer_tool"
CACHE = pathlib.Path(os.environ.get("GPUMCP_CACHE") or pathlib.Path.home() / ".cache/gpumcp")
FOLDERS = {
    "minilm": CACHE / "models/sentence-transformers--all-MiniLM-L6-v2",
    "smollm2": CACHE / "models/HuggingFaceTB--SmolLM2-135M-Instruct",
    **{name: CACHE / "tokenizers-3.7.2" / name for name in ("gemma2", "gemma3", "gpt2", "llama3", "qwen3")},
}


@pytest.mark.parametrize("name", FOLDERS)
def test_ids_offsets_and_texts_are_those_of_hugging_face(name):
    assert TOOL.exists(), f"{TOOL} was not built"
    if name == "smollm2" and not FOLDERS[name].exists():
        pytest.skip("SmolLM2 is not on this machine")
    texts = ["--texts", "150" if name == "minilm" else "600"]  # of eight variants, and of one
    # SmolLM2's vocabulary lacks some bytes; behind such a byte the package's offsets are a character off.
    if name == "smollm2":
        texts.append("--ids-only")
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/gpu_runtime/fuzz_tokenizer.py"), str(TOOL), str(FOLDERS[name]),
         *texts, "--seed", "7"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "0 differences" in done.stdout.splitlines()[-1]
