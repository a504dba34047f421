"""Drops by running rows: one row for every image and channel, in chunks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from xaimed_core.tail.ablation import ablate, replacement
from xaimed_core.tail.capture import Capture
from xaimed_core.tail.chunks import in_chunks
from xaimed_core.tail.interface import AblationValue
from xaimed_core.tail.replay import RowRunner

ROWS = 32
"""On a CPU 16 to 32 rows were fastest at every network tried; more only take memory."""


def outputs_by_rows(
    capture: Capture,
    runner: RowRunner,
    value: AblationValue,
    channels: Tensor,
    memory_bytes: int,
    read: Callable[[Tensor, Tensor], Tensor],
) -> Tensor:
    """``read(logits [r, ...], image [r]) -> [r, ...]`` of every ablation, as ``[n, c, ...]``."""
    activation = capture.activation
    n, c = len(activation), len(channels)
    replaced = replacement(activation, capture.channel_dim, value)
    rows = max(1, min(ROWS, memory_bytes // max(runner.bytes_per_row, 1), c))
    found: list[Tensor] = []
    with capture.running():
        for i in range(n):  # a chunk holds rows of one image, so that what they share takes its memory once

            def run(part: slice, i: int = i) -> Tensor:
                channel = channels[part]
                image = torch.full_like(channel, i)
                ablated = ablate(activation, capture.channel_dim, replaced, image, channel)
                return read(runner.outputs(image, ablated), image)

            found += [result for _, result in in_chunks(c, rows, run)]
    return torch.cat(found).unflatten(0, (n, c))
