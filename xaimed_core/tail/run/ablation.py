"""Which value an ablated channel takes, and activations in which it has taken it."""

from __future__ import annotations

from typing import assert_never

import torch
from torch import Tensor

from xaimed_core.methods import AblationValue


def replacement(activation: Tensor, channel_dim: int, value: AblationValue) -> Tensor:
    """What channel k of image i becomes, ``[n, c]``, for activations with channels along ``channel_dim``."""
    values = activation.movedim(channel_dim, 1).flatten(2) if activation.ndim > 2 else activation.unsqueeze(2)
    match value:
        case "zero":
            return values.new_zeros(values.shape[:2])
        case "minimum":
            return values.amin(2)
        case "mean":
            return values.mean(2)
        case _:
            assert_never(value)


def ablate(activation: Tensor, channel_dim: int, replaced: Tensor, image: Tensor, channel: Tensor) -> Tensor:
    """Rows ``[r, ...]``: the activation of ``image[r]`` with ``channel[r]`` replaced by ``replaced [n, c]``."""
    rows = activation[image]
    by_channel = rows.movedim(channel_dim, 1)
    at = torch.arange(len(rows), device=rows.device)
    fill = replaced[image, channel].reshape(-1, *[1] * (rows.ndim - 2))
    by_channel[at, channel] = fill.expand(by_channel[at, channel].shape)
    return rows
