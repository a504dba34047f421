"""What one forward left behind for its tail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import final

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
    """One forward: its images, the layer's output ``activation`` and the ``logits [n, ...]`` that targets read."""

    model: nn.Module
    layer: nn.Module
    images: Tensor
    activation: Tensor
    logits: Tensor
    channel_dim: int
    autocast: Autocast

    @property
    def channels(self) -> int:
        """How many channels the layer has."""
        return self.activation.shape[self.channel_dim]

    @contextmanager
    def running(self) -> Iterator[None]:
        """As the forward ran: same autocast, evaluation mode, but no autograd; everything is as before afterwards."""
        with ExitStack() as stack:
            stack.enter_context(undisturbed(self.model, self.images.device))
            stack.enter_context(torch.no_grad())
            stack.enter_context(
                torch.autocast(self.autocast.device_type, self.autocast.dtype, self.autocast.enabled)
            )
            yield
