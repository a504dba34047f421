"""The configurations in which ``weighted_map`` launches its kernels."""

from __future__ import annotations

from collections.abc import Sequence

from xaimed_kernels.launching import KernelCase, recording
from xaimed_kernels.weighted_map import weighted_map
from xaimed_kernels.weighted_map.cases import BENCH_CASES, CASES


def offline_cases() -> Sequence[KernelCase]:
    """What every case would launch."""
    with recording() as launches:
        for case in (*CASES, *BENCH_CASES):
            weighted_map(*case.make("meta"), backend="triton")
    return launches
