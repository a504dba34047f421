"""What one forward left behind for its tail."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from xaimed_core.forward import undisturbed


@final
@dataclass(frozen=True)
class Autocast:
    """The autocast state of a device type, to be entered again."""

    device_type: str
    enabled: bool
    dtype: torch.dtype

    @staticmethod
    def now(device: torch.device) -> Autocast:
        """The state in force here."""
        kind = device.type
        return Autocast(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))


@final
@dataclass(frozen=True)
class Capture:
    """One forward: its images, the layer's output ``activation`` and the ``logits [n, ...]`` that targets read.

    differentiable: the tail ran with autograd, which makes some modules choose other operations.
    """

    model: nn.Module
    layer: nn.Module
    images: Tensor
    activation: Tensor
    logits: Tensor
    channel_dim: int
    autocast: Autocast
    differentiable: bool

    @property
    def channels(self) -> int:
        """How many channels the layer has."""
        return self.activation.shape[self.channel_dim]

    @contextmanager
    def running(self) -> Generator[None]:
        """As the forward ran: same autocast, evaluation mode, but no autograd; everything is as before afterwards."""
        with ExitStack() as stack:
            stack.enter_context(undisturbed(self.model, self.images.device))
            stack.enter_context(torch.no_grad())
            stack.enter_context(
                torch.autocast(self.autocast.device_type, self.autocast.dtype, self.autocast.enabled)
            )
            yield


@contextmanager
def returning(
    layer: nn.Module, rows: Tensor, at_layer: Callable[[Tensor], Tensor] = torch.clone
) -> Generator[None]:
    """The layer returns ``at_layer(rows)``, a copy by default, whatever its own hooks did: this hook is the last."""

    def give(_module: nn.Module, _inputs: Any, _output: Any) -> Tensor:
        return at_layer(rows)

    handle = layer.register_forward_hook(give)
    try:
        yield
    finally:
        handle.remove()
