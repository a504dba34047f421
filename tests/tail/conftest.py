"""The definition of a channel's drop, by brute force in float64, and the tail that must agree with it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xaimed_core.explanation import Route
from xaimed_core.forward import observe
from xaimed_core.isolation.thread_state import self_contained
from xaimed_core.outputs import scores_in
from xaimed_core.tail import Tail, observe_tail
from xaimed_core.tail.run.outcomes import AllClasses, OneClass, Outcome

REPLACEMENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "zero": torch.zeros_like,
    "minimum": lambda channel: (
        channel.flatten(1).amin(1).reshape(-1, *[1] * (channel.ndim - 1)).expand_as(channel)
    ),
    "mean": lambda channel: (
        channel.flatten(1).mean(1).reshape(-1, *[1] * (channel.ndim - 1)).expand_as(channel)
    ),
}


def logit_drops(
    model: nn.Module,
    layer: str,
    images: Tensor,
    *,
    channels: list[int],
    value: str = "zero",
    channel_dim: int = 1,
    dtype: torch.dtype = torch.float64,
    activation: Tensor | None = None,
) -> Tensor:
    """Logits minus the logits with a channel replaced: a whole forward per channel, ``[n, c, ...]``.

    activation: what the layer gives, so that only the tail's own rounding counts; None lets the layer compute it.
    """
    exact = copy.deepcopy(model).to(dtype).eval()
    module, images = exact.get_submodule(layer), images.to(dtype)

    def logits(channel: int | None) -> Tensor:
        def ablate(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            output = output.clone() if activation is None else activation.to(dtype, copy=True)
            if channel is not None:
                chosen = output.select(channel_dim, channel)
                chosen.copy_(REPLACEMENTS[value](chosen))
            return output

        handle = module.register_forward_hook(ablate)
        try:
            with torch.no_grad():
                return scores_in(exact(images), None)[0].clone()
        finally:
            handle.remove()

    whole = logits(None)
    return torch.stack([whole - logits(channel) for channel in channels], 1)


def watch(
    model: nn.Module,
    layer: str,
    images: Tensor,
    *,
    channel_dim: int = 1,
    gradients: bool = False,
    memory_bytes: int | None = None,
) -> Tail:
    """The tail after one forward of the engine."""
    module = model.get_submodule(layer)
    observer = observe_tail(model, module, images, channel_dim=channel_dim, memory_bytes=memory_bytes)
    whole = [lambda row: row.sum()] * len(images)
    observe(model, images, {layer: module}, whole, gradients=gradients, observers={layer: observer})
    return observer.tail()


def relative_error(found: Tensor, exact: Tensor) -> float:
    """The largest error, relative to the largest drop; the drops must not all be zero."""
    largest = exact.abs().max()
    assert largest > 1e-6, "nothing drops, so that nothing is tested"
    assert found.shape == exact.shape
    return float((found.double() - exact).abs().max() / largest)


def strongest_and_others(activation: Tensor, channel_dim: int, strongest: int, others: int) -> list[int]:
    """The strongest channels of the first image, and some of the rest by a seeded draw."""
    order = activation.movedim(channel_dim, 1)[0].relu().flatten(1).mean(1).argsort(descending=True).tolist()
    drawn = torch.randperm(len(order) - strongest, generator=torch.Generator().manual_seed(7))[:others]
    return [*order[:strongest], *(order[strongest + int(i)] for i in drawn)]


@dataclass(frozen=True)
class ClassDrops:
    """``drops [n, c, classes]``: logits ``[n, classes]`` minus the logits with channel k replaced."""

    drops: Tensor
    logits: Tensor
    route: Route


@self_contained
def drops_of(tail: Any, outcome: Outcome, channels: Tensor, value: str = "zero") -> Tensor:
    """What ``channels [c]`` alone are worth."""
    with torch.inference_mode(False), torch.no_grad():
        return tail.ablate(channels, value, outcome).float()


def class_drops(tail: Any, *, value: str = "zero", channels: Tensor | None = None) -> ClassDrops:
    """The drops of all classes at once, of all channels where none are given."""
    chosen = torch.arange(tail.capture.channels) if channels is None else channels
    drops = drops_of(tail, AllClasses(), chosen, value)
    return ClassDrops(drops, tail.capture.logits.float(), tail.mechanism.route)


def hold_to_the_budget(
    tail: Tail, model: nn.Module, layer: str, images: Tensor, *, channels: list[int], channel_dim: int = 1
) -> Route:
    """Closed forms within 1e-5 of float64, the rest within 3x of plain float32 and 2e-4; the route that ran."""
    found = class_drops(tail, channels=torch.tensor(channels))
    assert found.logits.abs().max() >= 10, "a trained network's logits, of which drops are small differences"
    how = {"channels": channels, "channel_dim": channel_dim, "activation": tail.mechanism.capture.activation}
    exact = logit_drops(model, layer, images, **how)
    assert exact.abs().max() > 1e-4
    best = found.logits.argmax(1)
    of_best = drops_of(tail, OneClass(best), torch.tensor(channels))
    error = max(
        relative_error(found.drops, exact),
        relative_error(of_best, exact.take_along_dim(best[:, None, None], 2).squeeze(2)),
    )
    if found.route.kind == "closed-form":
        assert error <= 1e-5
    else:
        plain = logit_drops(model, layer, images, **how, dtype=torch.float32)
        assert error <= 3 * relative_error(plain, exact)
        assert error <= 2e-4
    return found.route


class Headed(nn.Module):
    """``layer``, then ``head(x)``."""

    def __init__(self, head: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, 6, 3)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(torch.relu(self.layer(images)))


def brute_force(model: nn.Module, images: Tensor) -> Tensor:
    """Drops ``[n, c, classes]`` as the network itself computes them, one image and one channel at a time."""

    def logits(image: Tensor, channel: int | None) -> Tensor:
        def ablate(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
            kept = torch.ones(6, 1, 1) if channel is None else (torch.arange(6) != channel).view(6, 1, 1)
            return output * kept

        handle = model.layer.register_forward_hook(ablate)
        try:
            with torch.no_grad():
                return model(image.unsqueeze(0))[0]
        finally:
            handle.remove()

    return torch.stack([torch.stack([logits(x, None) - logits(x, k) for k in range(6)]) for x in images])


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture(name="watch")
def _watch() -> Callable[..., Tail]:
    return watch


@pytest.fixture(name="logit_drops")
def _logit_drops() -> Callable[..., Tensor]:
    return logit_drops


@pytest.fixture(name="relative_error")
def _relative_error() -> Callable[[Tensor, Tensor], float]:
    return relative_error


@pytest.fixture(name="strongest_and_others")
def _strongest_and_others() -> Callable[..., list[int]]:
    return strongest_and_others


@pytest.fixture(name="hold_to_the_budget")
def _hold_to_the_budget() -> Callable[..., str]:
    return hold_to_the_budget
