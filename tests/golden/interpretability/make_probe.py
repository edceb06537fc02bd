#!/usr/bin/env python3
"""Writes probe.json and probe_*.npy: what scikit-learn's LogisticRegression makes of small data sets.

usage: make_probe.py     needs numpy and scikit-learn; a second

probe_tall_*.npy   float32, more rows than columns; probe_wide_*.npy: fewer
probe.json         {"tall", "wide"}: a list of fits: {"l2", "weights", "bias", "accuracy", "probabilities" (positive rows, then negative)}
"""
import json
import pathlib

import numpy as np
from sklearn.linear_model import LogisticRegression

here = pathlib.Path(__file__).parent
random = np.random.default_rng(7)
out = {}
for name, rows, columns in [("tall", (14, 11), 5), ("wide", (5, 4), 12)]:
    away = random.normal(size=columns)
    sets = [(random.normal(size=(n, columns)) + sign * 0.5 * away).astype(np.float32) for n, sign in zip(rows, (1, -1))]
    for which, values in zip(("positive", "negative"), sets):
        np.save(here / f"probe_{name}_{which}.npy", values)
    x, y = np.concatenate(sets).astype(np.float64), np.repeat([1, 0], rows)
    out[name] = []
    for l2 in (1.0, 0.05):
        fit = LogisticRegression(C=1 / l2, solver="lbfgs", tol=1e-12, max_iter=100000).fit(x, y)
        out[name].append({"l2": l2, "weights": fit.coef_[0].tolist(), "bias": float(fit.intercept_[0]), "accuracy": fit.score(x, y),
                          "probabilities": fit.predict_proba(x)[:, 1].tolist()})
        print(name, l2, out[name][-1]["accuracy"], out[name][-1]["bias"], fit.n_iter_)
(here / "probe.json").write_text(json.dumps(out, indent=1) + "\n")
