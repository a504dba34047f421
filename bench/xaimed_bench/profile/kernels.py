"""Each operation's share of the roofs: its case, a copy and a matrix product, timed in turns.

On CUDA the Triton kernels run, on a CPU the CPU paths of the same operations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch

from xaimed_bench.measure.clock import Clock, Sample
from xaimed_bench.measure.interleave import interleave
from xaimed_bench.profile.roofs import copy_call, matrix_call
from xaimed_bench.profile.setting import Setting
from xaimed_bench.profile.variants import Variant
from xaimed_kernels.operations import OPERATIONS, Case, Operation, moved_bytes
from xaimed_reports.compare.ratio import ratio
from xaimed_reports.profile.card import KernelShare
from xaimed_reports.store.records import Timing

COPY, MATRIX = "copy", "fp32 matrix product"
FLUSHES = 40
"""Overwrites of the cache that are queued before each call on CUDA: they outlast the launching of the call."""


@final
@dataclass(frozen=True)
class Work:
    """One operation at one shape. ``moved_bytes``: of a fully fused one; ``flops``: of the algorithm, about."""

    case: str
    run: Callable[[], Any]
    moved_bytes: int
    flops: float

    @staticmethod
    def of(operation: Operation, case: Case, device: torch.device) -> Work:
        """The operation on the tensors of a case, run once."""
        inputs = case.make(device)
        run = partial(operation.run, case, None, *inputs)
        return Work(case.label, run, moved_bytes(*inputs, run()), operation.flops(case))


class QueuedClock(Clock):
    """A clock whose device time holds no waiting for the host: work queued before keeps the device busy meanwhile."""

    def _time_cuda(self, call: Callable[[], Any]) -> Sample:
        if self._flush is None:
            return super()._time_cuda(call)
        torch.cuda.synchronize(self.device)
        for _ in range(FLUSHES):
            self._flush.zero_()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record(torch.cuda.current_stream(self.device))
        result = call()
        end.record(torch.cuda.current_stream(self.device))
        torch.cuda.synchronize(self.device)
        del result
        device_s = begin.elapsed_time(end) / 1e3
        return Sample(device_s, device_s)


def measure_kernels(setting: Setting) -> tuple[KernelShare, ...]:
    """Every case of every operation; cases of one operation share their blocks with the roofs."""
    rows: list[KernelShare] = []
    with Variant("fp32").active(setting.device):
        for operation in OPERATIONS:
            works = [
                Work.of(operation, case.at_most(setting.kernel_images), setting.device)
                for case in operation.bench_cases
                if case.plain or setting.every_layout
            ]
            rows += _shares(operation.name, works, setting)
    return tuple(rows)


def _shares(operation: str, works: list[Work], setting: Setting) -> list[KernelShare]:
    clock = QueuedClock(setting.device, cold=True)
    arms = {work.case: work.run for work in works}
    arms |= {COPY: copy_call(setting), MATRIX: matrix_call(setting)}
    first_s = {name: clock.first(call)[1] for name, call in arms.items()}
    plan = replace(setting.plan, budget_s=setting.budget_s / 4)
    timings = interleave(arms, first_s, plan=plan, clock=clock).timings
    return [_share(operation, work, timings, setting) for work in works]


def _share(operation: str, work: Work, timings: dict[str, Timing], setting: Setting) -> KernelShare:
    own, copy, matrix = timings[work.case], timings[COPY], timings[MATRIX]
    against_copy, against_matrix = ratio(copy, own), ratio(matrix, own)
    bytes_part = work.moved_bytes / (2 * setting.copy_bytes)
    flops_part = work.flops / (2 * setting.matrix_side**3)
    shares = {COPY: bytes_part * against_copy.value, MATRIX: flops_part * against_matrix.value}
    limit = max(shares, key=lambda name: shares[name])
    return KernelShare(
        operation=operation,
        case=work.case,
        path="triton" if setting.device.type == "cuda" else "cpu",
        moved_bytes=work.moved_bytes,
        flops=work.flops,
        seconds=own.typical_s,
        copy_share=shares[COPY],
        low=bytes_part * against_copy.low,
        high=bytes_part * against_copy.high,
        roof_share=shares[limit],
        limit=limit,
    )
