#!/usr/bin/env python3
"""Writes the files beside this one: small arrays, and what NumPy computes from them.

usage: make.py        needs numpy only

rows.npy, other.npy   float32 [40, 6] (four groups of ten rows) and [3, 6]
several.safetensors   "a" float32 [2, 2] and "b" int64 [3]
expected.json         what each tool of the interface "tensors" must say of them
"""
import json
import pathlib
import struct

import numpy as np

here = pathlib.Path(__file__).parent
random = np.random.default_rng(7)
middles = random.normal(size=(4, 6)) * 5
rows = (middles[np.arange(40) % 4] + random.normal(size=(40, 6)) * 0.5).astype(np.float32)
other = random.normal(size=(3, 6)).astype(np.float32)
np.save(here / "rows.npy", rows)
np.save(here / "other.npy", other)
a, b = np.array([[1, 2], [3, 4.5]], np.float32), np.array([7, -8, 9], np.int64)
header = json.dumps({"a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
                     "b": {"dtype": "I64", "shape": [3], "data_offsets": [16, 40]}}).encode()
header += b" " * (-len(header) % 8)
(here / "several.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + a.tobytes() + b.tobytes())

x, y = rows.astype(np.float64), other.astype(np.float64)
unit = lambda m: m / np.linalg.norm(m, axis=-1, keepdims=True)
centred = x - x.mean(0)
u, s, vh = np.linalg.svd(centred, full_matrices=False)
vh *= np.sign(np.take_along_axis(vh, np.abs(vh).argmax(1)[:, None], 1))
variance = s**2 / (len(x) - 1)
groups = np.arange(40) % 4
inertia = sum(((x[groups == g] - x[groups == g].mean(0)) ** 2).sum() for g in range(4))
direction = unit(y[0])
flat = x.ravel()
order = np.argsort(-np.abs(flat), kind="stable")[:4]
near = unit(x) @ unit(y[0])
best = np.argsort(-near, kind="stable")[:3]
expected = {
    "describe": {"min": x.min(), "max": x.max(), "mean": x.mean(), "std": x.std(), "norm": np.linalg.norm(x),
                 "p5": np.percentile(x, 5), "median": np.median(x), "p95": np.percentile(x, 95)},
    "slice": rows[-2:, ::2].ravel().tolist(),
    "cosine": (unit(y) @ unit(x[:4]).T).tolist(),
    "top_magnitude": [[*map(int, np.unravel_index(i, x.shape)), flat[i]] for i in order],
    "nearest": [[int(i), near[i]] for i in best],
    "pca_components": vh[:2].tolist(), "pca_projected": (centred @ vh[:2].T)[:3].tolist(),
    "pca_variance": variance[:2].tolist(), "pca_ratio": (variance / variance.sum())[:2].tolist(),
    "inertia": inertia,
    "arithmetic": {
        "add": (x[:3] + y).tolist(), "subtract": (x[:3] - y).tolist(), "multiply": (y * -2.5).tolist(),
        "divide": (x[:3] / y).tolist(), "matmul": (y @ x[:4].T).tolist(),
        "mean": x.mean(0).tolist(), "sum": [x.sum()], "norm": np.linalg.norm(y, axis=1).tolist(),
        "max": y.max(1).tolist(), "min": [y.min()],
        "normalize": unit(y).tolist(), "softmax": (np.exp(y) / np.exp(y).sum(-1, keepdims=True)).tolist(),
        "abs": np.abs(y).tolist(), "transpose": y.T.tolist(), "flatten": y.ravel().tolist(),
        "project": np.outer(x[:3] @ direction, direction).tolist(),
        "reject": (x[:3] - np.outer(x[:3] @ direction, direction)).tolist(),
        "stack": np.stack([x[:3], y], 1).tolist(), "concat": np.concatenate([x[:3], y]).tolist(),
    },
}
(here / "expected.json").write_text(json.dumps(json.loads(json.dumps(expected), parse_float=lambda t: float(f"{float(t):.9g}"))) + "\n")
