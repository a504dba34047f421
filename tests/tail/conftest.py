"""The definition of a channel's drop, by brute force in float64, and the tail that must agree with it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xaimed_core.forward import observe
from xaimed_core.tail import Tail, observe_tail
from xaimed_core.targets import logits_of

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
                return logits_of(exact(images)).clone()
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
    observe(model, images, {layer: module}, whole, gradients=gradients, observer=observer)
    return observer.tail()


def relative_error(found: Tensor, exact: Tensor) -> float:
    """The largest error, relative to the largest drop; the drops must not all be zero."""
    largest = exact.abs().max()
    assert largest > 1e-6, "nothing drops, so that nothing is tested"
    assert found.shape == exact.shape
    return float((found.double() - exact).abs().max() / largest)


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
