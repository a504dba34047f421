"""What each method costs on this network, by the measuring of the benches, and what the evaluation itself took."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any, TypeVar, final

import torch
from torch import Tensor, nn

from xaimed_bench.measure import PROFILES
from xaimed_bench.measure.clock import Clock
from xaimed_bench.measure.interleave import interleave
from xaimed_bench.measure.memory import peak_above_resident
from xaimed_bench.study.evaluate.maps import maps_per_image, methods_at, methods_needed
from xaimed_bench.study.evaluate.scores import forwards_per_map, forwards_shared
from xaimed_bench.study.evaluate.settings import Settings
from xaimed_core import explain
from xaimed_core.memory import proc_bytes
from xaimed_reports.compare.ratio import ratio
from xaimed_reports.study.evaluation import Cost, Spent

T = TypeVar("T")

FORWARD = "forward"
PEAK = "peak_bytes"
SELDOM = 100
"""Forwards for which a batch is timed: at most three in a hundred more are run."""


def costs(
    model: nn.Module, images: Tensor, layers: Mapping[str, str], names: Sequence[str]
) -> tuple[Cost, ...]:
    """Every method at every layer, in turns with the plain forward pass of the same images."""
    found: list[Cost] = []
    clock = Clock(images.device)
    for role, layer in layers.items():
        arms: dict[str, Callable[[], Any]] = {FORWARD: partial(_forward, model, images)}
        for name in methods_needed(methods_at(layer, names)):
            arms[name] = partial(explain, model, images, name, layer.split(","), progress=False)
        first_s = {name: clock.first(call)[1] for name, call in arms.items()}
        timed = interleave(arms, first_s, plan=PROFILES["gate"], clock=clock).timings
        for name, call in arms.items():
            if name == FORWARD:
                continue
            times = ratio(timed[name], timed[FORWARD])
            peak = peak_above_resident(call, images.device).peak_bytes
            found.append(Cost(role, name, times.value, times.low, times.high, peak))
    return tuple(found)


@torch.no_grad()
def negative(model: nn.Module, images: Tensor, layers: Mapping[str, str]) -> dict[str, float]:
    """The part of the values that is below 0, as the layer gives them; where there are several, the largest of them."""
    found = dict.fromkeys(layers, 0.0)

    def note(role: str, _module: nn.Module, _given: Any, values: Tensor) -> None:
        found[role] = max(found[role], float((values < 0).float().mean()))

    with ExitStack() as hooks:
        for role, names in layers.items():
            for name in names.split(","):
                hooks.enter_context(model.get_submodule(name).register_forward_hook(partial(note, role)))
        model(images)
    return found


@torch.no_grad()
def _forward(model: nn.Module, images: Tensor) -> Tensor:
    return model(images)


def forwards_needed(asked: Settings) -> int:
    """Of each image: as it is, as every map perturbs it, and with everything removed."""
    each = forwards_per_map(asked) * maps_per_image(asked.methods, asked.layers.values())
    return 1 + each + forwards_shared(asked)


@final
class Pace:
    """Times the parts of batch ``k``, and plain forwards before and between them.

    ``forward_s`` and ``spent_s`` stay empty for a batch whose work is too little to be worth more forwards.
    """

    def __init__(self, model: nn.Module, images: Tensor, asked: Settings, k: int) -> None:
        self.needed = forwards_needed(asked)
        self.forward_s: list[float] = []
        self.spent_s: dict[str, float] = {}
        self._forward = partial(_forward, model, images)
        self._clock = Clock(images.device)
        self._watched = k % -(-SELDOM // self.needed) == 0

    def of(self, part: str, call: Callable[[], T]) -> T:
        if not self._watched:
            return call()
        self.forward_s.append(self._clock.first(self._forward)[1])
        found, self.spent_s[part] = self._clock.first(call)
        return found

    @property
    def found(self) -> dict[str, float]:
        """Each part's time in the forwards needed, none where the batch was not timed; the process' peak memory."""
        needed_s = self.needed * fmean(self.forward_s) if self.forward_s else 1.0
        peak = proc_bytes(Path("/proc/self/status"), "VmHWM")
        parts = {part: spent_s / needed_s for part, spent_s in self.spent_s.items()}
        return parts if peak is None else {**parts, PEAK: peak}


def spent(asked: Settings, found: Sequence[Mapping[str, float]]) -> Spent | None:
    """The medians over batches, each as its `Pace` found it; None where none was timed."""
    peaks = [int(took.get(PEAK, 0)) for took in found]
    parts = [{part: took[part] for part in took if part != PEAK} for took in found]
    batches = [each for each in parts if each]
    if not batches:
        return None
    return Spent(
        needed=forwards_needed(asked),
        batch=asked.batch,
        batches=len(batches),
        whole=median(sum(each.values()) for each in batches),
        parts={name: median(each[name] for each in batches) for name in batches[0]},
        tenth_bytes=max(peaks[: -(-len(peaks) // 10)]) or None,
        peak_bytes=max(peaks) or None,
    )
