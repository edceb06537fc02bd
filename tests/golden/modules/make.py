#!/usr/bin/env python3
"""Makes what lies here: one small module as a TorchScript file and as an AOTInductor package, and what it computes.

Needs Python's torch 2.15 with all it imports, and g++. The package is made for any x86-64: without -march=native and
without vector code, so that it runs where it is tested, and without libtorch.so, which would bring all of CUDA.
"""
import json
import os
import pathlib
import subprocess
import tempfile
import zipfile

import torch
from torch import nn
import torch._inductor.config as config
import torch._inductor.cpp_builder as cpp_builder

cache = tempfile.mkdtemp()
os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
here = pathlib.Path(__file__).parent
VOCABULARY, POSITIONS, WIDTH = 20, 12, 8


class Small(nn.Module):
    """Embeddings that look at their neighbours: [texts, length, 8] from ids and mask."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, WIDTH)
        self.positions = nn.Embedding(POSITIONS, WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        places = torch.arange(input_ids.size(1), device=input_ids.device)
        x = self.words(input_ids) + self.positions(places)
        mask = attention_mask.unsqueeze(-1).to(x.dtype)
        mean = (x * mask).sum(1, keepdim=True) / mask.sum(1, keepdim=True)
        return torch.tanh(self.mix(x + mean))


def without_native(original):
    def flags(*arguments, **named):
        found = original(*arguments, **named)
        parts = found if isinstance(found, tuple) else (found,)
        cleaned = tuple([f for f in part if "march" not in f and "mtune" not in f] for part in parts)
        cleaned[0].extend(f"ffile-prefix-map={path}=." for path in (os.path.dirname(torch.__path__[0]), cache))
        return cleaned if isinstance(found, tuple) else cleaned[0]
    return flags


def shrink(package, to):
    """The package without its sources and symbols."""
    with zipfile.ZipFile(package) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            content = old.read(entry)
            if entry.filename.endswith(".cpp"):
                continue
            if entry.filename.endswith(".so"):
                library = pathlib.Path(cache, "library.so")
                library.write_bytes(content)
                subprocess.run(["strip", library], check=True)
                content = library.read_bytes()
            name = entry.filename.split("/", 1)[1]
            new.writestr(zipfile.ZipInfo("small/" + name), content, zipfile.ZIP_DEFLATED)


def main():
    torch.manual_seed(7)
    model = Small().eval()
    (here / "config.json").write_text(json.dumps(
        {"model_type": "small-module", "vocab_size": VOCABULARY, "max_position_embeddings": POSITIONS,
         "hidden_size": WIDTH}) + "\n")
    torch.jit.script(model).save(str(here / "small.pt"))

    cpp_builder._get_optimization_cflags = without_native(cpp_builder._get_optimization_cflags)
    config.cpp.simdlen = 1
    config.cpp.threads = 1
    texts, length = torch.export.Dim("texts", min=1, max=256), torch.export.Dim("length", min=1, max=POSITIONS)
    example = (torch.ones(2, 5, dtype=torch.long), torch.ones(2, 5, dtype=torch.long))
    exported = torch.export.export(model, example, dynamic_shapes=({0: texts, 1: length}, {0: texts, 1: length}))
    with tempfile.TemporaryDirectory() as folder:
        path = torch._inductor.aoti_compile_and_package(
            exported, package_path=folder + "/small.pt2", inductor_configs={"aot_inductor.link_libtorch": False})
        shrink(path, here / "small.pt2")

    rows = [[3, 4, 5, 6, 7], [19, 0, 1], [11], [2, 2, 2]]
    out = []
    with torch.no_grad():
        for ids in rows:
            tensor = torch.tensor([ids])
            out.append(model(tensor, torch.ones_like(tensor))[0].tolist())
    (here / "expected.json").write_text(json.dumps({"rows": rows, "last_hidden_state": out}) + "\n")


if __name__ == "__main__":
    main()
