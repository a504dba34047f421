"""The configurations in which ``impute`` launches its kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xaimed_kernels.impute import FLOAT32_TOL, impute
from xaimed_kernels.launching import KernelCase, recording

CALLS = ((224, 224, 1e-4), (512, 512, 1e-4), (33, 30, 1e-4), (224, 224, FLOAT32_TOL / 10))
"""Heights, widths and tolerances: images of classifiers, larger ones, one so small that a single program holds all
its coarse grids, and a solution refined in float64."""


def offline_cases() -> Sequence[KernelCase]:
    """What these calls would launch."""
    with recording() as launches:
        for height, width, tol in CALLS:
            keep = torch.empty(2, 3, height, width, dtype=torch.bool, device="meta")
            impute(torch.empty(2, 3, height, width, device="meta"), keep, tol=tol, backend="triton")
    return launches
