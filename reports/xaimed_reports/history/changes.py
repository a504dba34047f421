"""Where the level of a series changed, by ruptures (Truong, Oudre and Vayatis 2020): PELT under a linear kernel, in C.

ruptures needs numpy and scipy alone. apache-otava would bring a significance test of its own, and pins numpy, BigQuery,
PostgreSQL and Slack clients with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log

import numpy as np
from numpy.typing import NDArray

from xaimed_reports.compare.ratio import EQUAL

FEWEST = 3
"""Runs between two changes."""


def change_points(values: Sequence[float]) -> list[int]:
    """Indices at which a new level begins, by more than `EQUAL` and more than the noise; runs alone do not count.

    A running median of three takes lone outliers out. Each further level has to explain three times what it would of
    noise alone (the penalty of the Bayesian information criterion, tripled).
    """
    if len(values) < 2 * FEWEST or min(values) <= 0:
        return []
    from ruptures import KernelCPD

    x = _without_outliers(np.log(np.asarray(values, np.float64)))
    noise = float(np.median(np.abs(np.diff(x)))) / 0.6745
    penalty = 3 * log(len(x)) * max(noise, EQUAL / 10) ** 2
    ends = KernelCPD(kernel="linear", min_size=FEWEST).fit(x[:, None]).predict(pen=penalty) or []
    edges = [0, *(int(end) for end in ends)]  # the last end is the length
    levels = [float(np.median(x[a:b])) for a, b in pairwise(edges)]
    return [
        edge
        for edge, before, after in zip(edges[1:-1], levels, levels[1:], strict=False)
        if abs(after - before) > log(1 + EQUAL)
    ]


def _without_outliers(x: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.concatenate((x[:1], x, x[-1:]))
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, 3), axis=1)
