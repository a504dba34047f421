"""The configurations in which ``gradient_maps`` launches its kernel."""

from __future__ import annotations

from collections.abc import Sequence

from xaimed_kernels.gradient_maps import gradient_maps
from xaimed_kernels.gradient_maps.cases import BENCH_CASES, CASES
from xaimed_kernels.launching import KernelCase, recording


def offline_cases() -> Sequence[KernelCase]:
    """What every case would launch."""
    with recording() as launches:
        for case in (*CASES, *BENCH_CASES):
            gradient_maps(*case.make("meta"), case.formulas, backend="triton")
    return launches
