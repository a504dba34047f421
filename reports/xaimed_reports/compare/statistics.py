"""Whether times changed: the interval of a ratio of medians, and a decision for many rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from xaimed_reports.compare.ratio import EQUAL

Array = NDArray[np.float64]
Decision = Literal["faster", "slower", "same", "unknown"]

LEVEL = 0.05
RESAMPLES = 9999
FEWEST_UNITS = 3
SEED = 20250308


@final
@dataclass(frozen=True)
class Noise:
    """How far equal code differs in one row: with 95 % in this row, and with 95 % in all rows at once; shares."""

    row: float = 0.0
    family: float = 0.0


@final
@dataclass(frozen=True)
class Change:
    """One row's ratio new / base with its 95 % interval, and what it amounts to among all rows."""

    ratio: float
    low: float
    high: float
    decision: Decision
    noise: Noise

    @property
    def threshold(self) -> float:
        """A change smaller than this share counts as none: 3 %, or the machine's own noise where that is larger."""
        return max(EQUAL, self.noise.family)


def changes(
    base: Mapping[str, Sequence[float]], new: Mapping[str, Sequence[float]], noise: Mapping[str, Noise]
) -> dict[str, Change]:
    """Judge every row that both sides have. Values: one per unit (a process, or a block), in one scale.

    The ratio is that of the medians; its interval comes from resampling the units of each side apart (a stratified
    percentile bootstrap) and is never narrower than the row's noise. A row is slower when its ratio lies beyond
    ``1 + max(3 %, the family's noise)`` and Holm's procedure rejects the opposite at 5 % over all rows; faster
    likewise; the same when the whole interval lies within 3 %.
    """
    keys = [k for k in base if k in new and min(len(base[k]), len(new[k])) >= FEWEST_UNITS]
    drawn = {k: _resampled(base[k], new[k]) for k in keys}
    values = {k: _p_value(drawn[k][1], max(EQUAL, noise[k].family)) for k in keys}
    rejected = holm(values)
    return {k: _change(*drawn[k], noise[k], rejected[k]) for k in keys}


def holm(p_values: Mapping[str, float]) -> dict[str, bool]:
    """Holm's step-down procedure: which hypotheses fall when all are tested at once (Holm 1979)."""
    rejected = dict.fromkeys(p_values, False)
    for i, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        if p > LEVEL / (len(p_values) - i):
            break
        rejected[key] = True
    return rejected


def _resampled(base: Sequence[float], new: Sequence[float]) -> tuple[float, Array]:
    """The ratio of medians, and its bootstrap distribution; in logarithms, so that the two sides are alike."""

    def log_ratio(b: Array, n: Array, axis: int = -1) -> Any:
        return np.median(n, axis=axis) - np.median(b, axis=axis)

    samples = (np.log(np.asarray(base, np.float64)), np.log(np.asarray(new, np.float64)))
    found = stats.bootstrap(
        samples, log_ratio, n_resamples=RESAMPLES, vectorized=True, method="percentile", rng=SEED
    )
    return float(np.exp(log_ratio(*samples))), np.exp(found.bootstrap_distribution)


def _p_value(ratios: Array, threshold: float) -> float:
    """Two-sided: how often resampling puts the ratio back within the threshold."""
    slower = (1 + np.count_nonzero(ratios <= 1 + threshold)) / (1 + len(ratios))
    faster = (1 + np.count_nonzero(ratios >= 1 / (1 + threshold))) / (1 + len(ratios))
    return float(min(1.0, 2 * min(slower, faster)))


def _change(ratio: float, ratios: Array, noise: Noise, rejected: bool) -> Change:
    low, high = (float(v) for v in np.quantile(ratios, (LEVEL / 2, 1 - LEVEL / 2)))
    low, high = min(low, ratio / (1 + noise.row)), max(high, ratio * (1 + noise.row))
    decision: Decision = "unknown"
    if rejected:
        decision = "slower" if ratio > 1 else "faster"
    elif low > 1 / (1 + EQUAL) and high < 1 + EQUAL:
        decision = "same"
    return Change(ratio, low, high, decision, noise)


def clopper_pearson(hits: int, trials: int) -> tuple[float, float]:
    """The exact 95 % interval of a proportion (Clopper and Pearson 1934)."""
    interval = stats.binomtest(hits, trials).proportion_ci(method="exact")
    return float(interval.low), float(interval.high)
