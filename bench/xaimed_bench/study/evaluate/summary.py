"""What the rows of an evaluation say together: means with bootstrap intervals, and paired tests between methods."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from xaimed_bench.study.evaluate.maps import BASELINES, BLURRED, NO_LAYER
from xaimed_bench.study.evaluate.run import CORRECT, NETWORK
from xaimed_bench.study.evaluate.scores import AGREEMENT
from xaimed_bench.study.evaluate.settings import load_settings
from xaimed_bench.study.evaluate.shards import read
from xaimed_reports.compare.statistics import holm
from xaimed_reports.study.evaluation import Accuracy, Cell, Evaluation, Pair

RESAMPLES = 2000
SEED = 0
FEWEST = 6
"""Images below which no interval and no test is worth its name."""

Array = NDArray[np.float64]


def summarise(folder: Path, leaking: frozenset[str], near: frozenset[str]) -> Evaluation:
    """Read all rows, one layer and metric at a time. ``leaking``, ``near``: images that training holds, too.

    Raises UnusableError for damaged files.
    """
    settings = load_settings(folder)
    cells: list[Cell] = []
    pairs: list[Pair] = []
    for layer in (*settings.layers, NO_LAYER):
        for metric in settings.metrics:
            found = _Columns(read(folder, layer, metric).to_pydict())
            cells += found.cells(layer, metric, settings.classes)
            pairs += found.pairs(layer, metric)
    right = read(folder, NO_LAYER, CORRECT).to_pydict()
    names, values = cast("list[str]", right["image"]), np.asarray(right["value"], np.float64)
    return Evaluation(
        network=settings.network,
        init=settings.init,
        data=settings.data,
        split=settings.split,
        layers=settings.layers,
        images=settings.count,
        classes=settings.classes,
        removed=settings.removed,
        accuracy=(
            _accuracy("all images", names, values, frozenset()),
            _accuracy("without images whose bytes or lesion training holds", names, values, leaking),
            _accuracy("without images that look like one in training", names, values, leaking | near),
        ),
        cells=tuple(cells),
        pairs=tuple(pairs),
    )


def _accuracy(what: str, names: Sequence[str], right: Array, out: frozenset[str]) -> Accuracy:
    kept = np.array([name not in out for name in names], bool)
    return Accuracy(what, int(kept.sum()), float(right[kept].mean()) if kept.any() else None)


class _Columns:
    """The rows of one layer and metric as an array images x methods, NaN where an image has no value."""

    def __init__(self, rows: dict[str, list[Any]]) -> None:
        self.methods = [m for m in dict.fromkeys(rows["method"]) if m != NETWORK]
        images = list(dict.fromkeys(rows["image"]))
        at = {name: i for i, name in enumerate(images)}, {name: i for i, name in enumerate(self.methods)}
        self.values: Array = np.full((len(images), len(self.methods)), np.nan)
        self.label: list[str | None] = [None] * len(images)
        self.right = np.zeros(len(images), bool)
        each = zip(
            rows["image"], rows["method"], rows["label"], rows["predicted"], rows["value"], strict=True
        )
        for image, method, label, predicted, value in each:
            if method in at[1]:
                self.values[at[0][image], at[1][method]] = value
            self.label[at[0][image]] = label
            self.right[at[0][image]] = label == predicted

    def cells(self, layer: str, metric: str, classes: Sequence[str]) -> list[Cell]:
        groups: dict[str, NDArray[np.bool_]] = {"all": np.ones(len(self.right), bool)}
        known = np.array([label is not None for label in self.label], bool)
        groups |= {"correct": known & self.right, "wrong": known & ~self.right}
        groups |= {f"class {c}": np.array([label == c for label in self.label], bool) for c in classes}
        return [
            cell
            for j, method in enumerate(self.methods)
            for group, rows in groups.items()
            if (cell := _cell(layer, method, metric, group, self.values[rows, j])) is not None
        ]

    def pairs(self, layer: str, metric: str) -> list[Pair]:
        """Wilcoxon's signed-rank test for each two methods; Holm's procedure over all of them."""
        known = [m for m in self.methods if m not in BASELINES and not m.endswith(BLURRED)]
        if metric == AGREEMENT:
            return []
        found: dict[str, tuple[str, str, float, int, float]] = {}
        for a, b in combinations(known, 2):
            d = self.values[:, self.methods.index(a)] - self.values[:, self.methods.index(b)]
            d = d[np.isfinite(d)]
            if len(d) < FEWEST:
                continue
            p = float(cast("Any", stats.wilcoxon(d, zero_method="zsplit")).pvalue) if d.any() else 1.0
            found[f"{a}|{b}"] = a, b, float(d.mean()), len(d), p
        rejected = holm({key: p for key, (*_, p) in found.items()})
        return [
            Pair(layer, metric, a, b, mean, count, p, rejected[key])
            for key, (a, b, mean, count, p) in found.items()
        ]


def _cell(layer: str, method: str, metric: str, group: str, values: Array) -> Cell | None:
    values = values[np.isfinite(values)]
    if not len(values):
        return None
    low = high = None
    if len(values) >= FEWEST:
        drawn = np.random.default_rng(SEED)
        interval = stats.bootstrap(
            (values,), np.mean, n_resamples=RESAMPLES, method="percentile", rng=drawn, vectorized=True,
            batch=max(1, 10**7 // len(values)),
        ).confidence_interval  # fmt: skip
        low, high = float(interval.low), float(interval.high)
    return Cell(layer, method, metric, group, len(values), float(values.mean()), low, high)
