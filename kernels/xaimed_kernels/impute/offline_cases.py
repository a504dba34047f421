"""The configurations in which ``impute`` launches its kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xaimed_kernels.impute import impute
from xaimed_kernels.launching import KernelCase, recording

SIZES = ((224, 224), (512, 512), (33, 30))
"""Images of classifiers, larger ones, and one so small that a single program holds all its coarse grids."""


def offline_cases() -> Sequence[KernelCase]:
    """What images of these sizes would launch."""
    with recording() as launches:
        for height, width in SIZES:
            keep = torch.empty(2, 3, height, width, dtype=torch.bool, device="meta")
            impute(torch.empty(2, 3, height, width, device="meta"), keep, backend="triton")
    return launches
