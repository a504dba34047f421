"""Each operation's share of the roofs: its case, a copy and a matrix product, timed in turns.

On CUDA the Triton kernels run, on a CPU the CPU paths of the same operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import torch
from torch import Tensor

from xaimed_bench.measure.clock import Clock, Sample
from xaimed_bench.measure.interleave import interleave
from xaimed_bench.profile.roofs import copy_call, matrix_call
from xaimed_bench.profile.setting import Setting
from xaimed_bench.profile.variants import Variant
from xaimed_kernels.gradient_maps import cases as gradient_cases
from xaimed_kernels.gradient_maps import gradient_maps
from xaimed_kernels.impute import cases as impute_cases
from xaimed_kernels.impute import impute
from xaimed_kernels.principal_map import cases as principal_cases
from xaimed_kernels.principal_map import principal_map
from xaimed_kernels.rescale_maps import cases as rescale_cases
from xaimed_kernels.rescale_maps import rescale_maps
from xaimed_kernels.weighted_map import cases as weighted_cases
from xaimed_kernels.weighted_map import weighted_map
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


def moved_bytes(*tensors: Tensor) -> int:
    """The bytes that an operation with these inputs and outputs must move: each once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


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
        for operation, works in WORKS.items():
            rows += _shares(operation, list(works(setting)), setting)
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


def _gradient(setting: Setting) -> Iterator[Work]:
    """About 10 operations for each value and formula (README of the operation)."""
    for case in gradient_cases.BENCH_CASES:
        if _wanted(setting, case.activations, case.gradients):
            smaller = replace(
                case,
                activations=_few(setting, case.activations),
                gradients=_few(setting, case.gradients),
            )
            a, g = smaller.make(setting.device)
            run = partial(gradient_maps, a, g, smaller.formulas)
            flops = 10.0 * a.numel() * len(smaller.formulas)
            yield Work(_name(smaller.activations), run, moved_bytes(a, g, run().maps), flops)


def _weighted(setting: Setting) -> Iterator[Work]:
    """A multiplication and an addition for each value."""
    for case in weighted_cases.BENCH_CASES:
        if _wanted(setting, case.activations):
            smaller = replace(case, activations=_few(setting, case.activations))
            a, w = smaller.make(setting.device)
            run = partial(weighted_map, a, w)
            yield Work(_name(smaller.activations), run, moved_bytes(a, w, run()), 2.0 * a.numel())


def _principal(setting: Setting) -> Iterator[Work]:
    """Half of a symmetric Gram matrix, and 32 products of it with a vector."""
    for case in principal_cases.BENCH_CASES:
        smaller = replace(case, activations=_few(setting, case.activations))
        a, w = smaller.make(setting.device)
        run = partial(principal_map, a, w)
        n, c, s = a.flatten(2).shape
        d, k = min(c, s), max(c, s)
        inputs = (a,) if w is None else (a, w)
        yield Work(
            _name(smaller.activations), run, moved_bytes(*inputs, run()), n * (d * d * k + 64.0 * d * d)
        )


def _rescale(setting: Setting) -> Iterator[Work]:
    """About 20 operations a pixel, in each of two passes."""
    for case in rescale_cases.BENCH_CASES:
        smaller = replace(case, images=min(case.images, setting.kernel_images))
        raws = [torch.rand_like(raw) for raw in smaller.make(setting.device)]
        run = partial(rescale_maps, raws, smaller.size)
        maps = run().maps
        shape = f"{smaller.images}x{'x'.join(map(str, smaller.layers[0]))}"
        yield Work(shape, run, moved_bytes(*raws, maps), 40.0 * maps.numel())


def _impute(setting: Setting) -> Iterator[Work]:
    """About 450 operations a pixel and channel: 3 cycles of four sweeps, a residual and the coarser grids."""
    n, side = setting.kernel_images, 224
    images = torch.stack([impute_cases.image(side, side, seed=i) for i in range(n)]).to(setting.device)
    for kept in ("20%", "50%", "80%"):
        masks = [impute_cases.mask(f"cam, {kept} kept", side, side, seed=i) for i in range(n)]
        keep = torch.stack(masks).to(setting.device)
        run = partial(impute, images, keep)
        moved = moved_bytes(images, keep, images)
        yield Work(f"{n}x3x{side}x{side}, {kept} kept", run, moved, 450.0 * images.numel())


WORKS: dict[str, Callable[[Setting], Iterator[Work]]] = {
    "gradient_maps": _gradient,
    "weighted_map": _weighted,
    "principal_map": _principal,
    "rescale_maps": _rescale,
    "impute": _impute,
}
"""By operation, its cases; the shapes are those of the operation's own benches."""


def _wanted(setting: Setting, *inputs: Any) -> bool:
    plain = all(x.layout == "contiguous" and x.dtype == torch.float32 for x in inputs)
    return plain or setting.every_layout


def _few(setting: Setting, activations: Any) -> Any:
    n, *rest = activations.shape
    return replace(activations, shape=(min(n, setting.kernel_images), *rest))


def _name(activations: Any) -> str:
    return str(activations).replace("bfloat16", "bf16")
