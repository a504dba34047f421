"""The configurations in which ``principal_map`` launches its kernels."""

from __future__ import annotations

from collections.abc import Sequence

from xaimed_kernels.launching import KernelCase, recording
from xaimed_kernels.principal_map import principal_map
from xaimed_kernels.principal_map.cases import BENCH_CASES, CASES, LARGEST


def offline_cases() -> Sequence[KernelCase]:
    """What every case would launch."""
    with recording() as launches:
        for case in (*CASES, *BENCH_CASES, LARGEST):
            principal_map(*case.make("meta"), backend="triton")
    return launches
