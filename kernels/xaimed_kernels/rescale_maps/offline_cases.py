"""The configurations in which ``rescale_maps`` launches its kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from xaimed_kernels.launching import KernelCase, recording
from xaimed_kernels.rescale_maps import rescale_maps
from xaimed_kernels.rescale_maps.cases import BENCH_CASES, CASES


def offline_cases() -> Sequence[KernelCase]:
    """What every case would launch."""
    with recording() as launches:
        for case in (*CASES, *BENCH_CASES):
            raws = [torch.empty(case.images, *sides, device="meta") for sides in case.layers]
            rescale_maps(raws, case.size, eps=case.eps, backend="triton")
    return launches
