"""What each method costs on this network: time and memory, by the measuring of the benches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xaimed_bench.measure import PROFILES
from xaimed_bench.measure.clock import Clock
from xaimed_bench.measure.interleave import interleave
from xaimed_bench.measure.memory import peak_above_resident
from xaimed_bench.study.evaluate.maps import methods_needed
from xaimed_core import explain
from xaimed_reports.compare.ratio import ratio
from xaimed_reports.study.evaluation import Cost

FORWARD = "forward"


def costs(
    model: nn.Module, images: Tensor, layers: Mapping[str, str], names: Sequence[str]
) -> tuple[Cost, ...]:
    """Every method at every layer, in turns with the plain forward pass of the same images."""
    found: list[Cost] = []
    clock = Clock(images.device)
    for role, layer in layers.items():
        arms: dict[str, Callable[[], Any]] = {FORWARD: partial(_forward, model, images)}
        for name in methods_needed(names):
            arms[name] = partial(explain, model, images, name, layer, progress=False)
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
    """The part of each layer's values that is below 0, as it gives them."""
    found: dict[str, float] = {}

    def watch(role: str) -> Callable[[nn.Module, Any, Tensor], None]:
        return lambda _module, _given, values: found.update({role: float((values < 0).float().mean())})

    hooks = [model.get_submodule(layer).register_forward_hook(watch(role)) for role, layer in layers.items()]
    try:
        model(images)
    finally:
        for hook in hooks:
            hook.remove()
    return found


@torch.no_grad()
def _forward(model: nn.Module, images: Tensor) -> Tensor:
    return model(images)
