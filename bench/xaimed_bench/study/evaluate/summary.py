"""What the rows of an evaluation say together: means with bootstrap intervals, and paired tests between methods."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, cast, final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from xaimed_bench.study.evaluate import shards
from xaimed_bench.study.evaluate.costs import spent
from xaimed_bench.study.evaluate.maps import NO_LAYER
from xaimed_bench.study.evaluate.run import CORRECT, NETWORK
from xaimed_bench.study.evaluate.settings import load_settings
from xaimed_reports.compare.statistics import holm
from xaimed_reports.study.evaluation import Accuracy, Cell, Evaluation, Pair
from xaimed_reports.study.words import AGREEMENT, is_baseline

RESAMPLES = 1000
"""As many as Saporta et al. 2022 draw."""
SEED = 0
FEWEST = 6
"""Images below which no interval and no test is worth its name."""

Array = NDArray[np.float64]


def summarise(folder: Path, leaking: frozenset[str], near: frozenset[str]) -> Evaluation:
    """Read all rows, one batch after the other. ``leaking``, ``near``: images that training holds, too.

    Raises UnusableError for damaged files.
    """
    settings = load_settings(folder)
    table = _Table(folder, settings.count)
    cells: list[Cell] = []
    pairs: list[Pair] = []
    for layer in (*settings.layers, NO_LAYER):
        for metric in settings.metrics:
            found = table.of(layer, metric)
            cells += found.cells(layer, metric, settings.classes)
            pairs += found.pairs(layer, metric)
    right = table.of(NO_LAYER, CORRECT).values.get(NETWORK, np.array([]))
    return Evaluation(
        network=settings.network,
        init=settings.init,
        recipe=settings.recipe,
        steps=settings.steps,
        data=settings.data,
        split=settings.split,
        layers=settings.layers,
        images=settings.count,
        classes=settings.classes,
        removed=settings.removed,
        accuracy=(
            _accuracy("all images", table.images, right, frozenset()),
            _accuracy("without images whose bytes or lesion training holds", table.images, right, leaking),
            _accuracy("without images that look like one in training", table.images, right, leaking | near),
        ),
        cells=tuple(cells),
        pairs=tuple(pairs),
        spent=spent(settings, shards.spent(folder)),
    )


def _accuracy(what: str, names: Iterable[str], right: Array, out: frozenset[str]) -> Accuracy:
    """Of the images with a label that are not in ``out``."""
    kept = np.array([name not in out for name in names], bool)[: len(right)] & np.isfinite(right)
    return Accuracy(what, int(kept.sum()), float(right[kept].mean()) if kept.any() else None)


@final
class _Table:
    """All rows, a number for each image in every column: what is kept is 8 bytes a row."""

    def __init__(self, folder: Path, count: int) -> None:
        self.images: dict[str, int] = {}
        self.label: list[str | None] = []
        self.right: list[bool] = []
        self.columns: defaultdict[tuple[str, str], dict[str, Array]] = defaultdict(dict)
        for shard in shards.each_shard(folder):
            self._add(shard.to_pydict(), count)

    def _add(self, rows: dict[str, list[Any]], count: int) -> None:
        names = ("image", "label", "correct", "layer", "method", "metric", "value")
        for image, label, right, layer, method, metric, value in zip(*(rows[n] for n in names), strict=True):
            at = self.images.setdefault(image, len(self.images))
            if at == len(self.label):
                self.label.append(label)
                self.right.append(bool(right))
            methods = self.columns[layer, metric]
            if method not in methods:
                methods[method] = np.full(count, np.nan)
            methods[method][at] = value

    def of(self, layer: str, metric: str) -> _Columns:
        n = len(self.images)
        found = {method: values[:n] for method, values in self.columns[layer, metric].items()}
        return _Columns(found, self.label, np.array(self.right, bool))


@final
@dataclass(frozen=True)
class _Columns:
    """The values ``[n]`` of each method, NaN where an image has none; the images' labels, and which are predicted."""

    values: Mapping[str, Array]
    label: Sequence[str | None]
    right: NDArray[np.bool_]

    def cells(self, layer: str, metric: str, classes: Sequence[str]) -> list[Cell]:
        groups: dict[str, NDArray[np.bool_]] = {"all": np.ones(len(self.right), bool)}
        known = np.array([label is not None for label in self.label], bool)
        groups |= {"correct": known & self.right, "wrong": known & ~self.right}
        groups |= {f"class {c}": np.array([label == c for label in self.label], bool) for c in classes}
        return [
            cell
            for method, values in self.values.items()
            for group, rows in groups.items()
            if (cell := _cell(layer, method, metric, group, values[rows])) is not None
        ]

    def pairs(self, layer: str, metric: str) -> list[Pair]:
        """Wilcoxon's signed-rank test for each two methods; Holm's procedure over all of them."""
        known = [m for m in self.values if not is_baseline(m)]
        if metric == AGREEMENT:
            return []
        found: dict[str, tuple[str, str, float, int, float]] = {}
        for a, b in combinations(known, 2):
            d = self.values[a] - self.values[b]
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
