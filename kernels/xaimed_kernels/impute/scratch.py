"""The device memory of the multigrid: where each grid lies, and what is allocated for a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from xaimed_kernels.impute.levels import grids
from xaimed_kernels.launching import apart, ceil_div, power_of_two

BLOCK = 1024
"""Points of a program that goes along a grid's line."""


@final
@dataclass(frozen=True)
class Grid:
    """A grid in an array: its point (0, 0) stands at ``start``, its rows ``stride`` apart (see `kernel_stencil`)."""

    height: int
    width: int
    start: int

    @property
    def stride(self) -> int:
        """A multiple of 4, with a zero at least behind each row."""
        return _stride(self.width)

    @property
    def place(self) -> tuple[int, int]:
        """Start and stride in quarters, as kernels take them: what they multiply by 4, they know to be aligned."""
        return self.start // 4, self.stride // 4

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    @property
    def line(self) -> int:
        """All rows as one, in whole blocks."""
        return ceil_div(self.height * self.stride, BLOCK) * BLOCK

    @property
    def end(self) -> int:
        """Behind the zeros that follow it."""
        return self.start + self.line + _margin(self.width)


def _stride(width: int) -> int:
    return ceil_div(width + 1, 4) * 4


def _margin(width: int) -> int:
    """Zeros before and behind a grid: three rows. A restriction of residuals reads as far."""
    return 3 * _stride(width) + 4


def lay_out(height: int, width: int) -> tuple[Grid, ...]:
    """All grids: the image's in an array of its own, coarser ones one behind the other, with zeros between."""
    (_, *coarser), found, start = grids(height, width), [Grid(height, width, _margin(width))], 0
    for rows, columns in coarser:
        found.append(Grid(rows, columns, start or _margin(columns)))
        start = found[-1].end
    return tuple(found)


@final
@dataclass(frozen=True)
class Work:
    """Scratch on the device. ``s`` systems, ``m`` planes, ``points`` of all coarse grids together."""

    keep: Tensor  # [s, h, w] uint8
    relax: Tensor  # [s, room]: see `kernel_image`
    u: tuple[Tensor, ...]  # 3 of [m, room]: the solution, and two for sweeps
    coarse: tuple[Tensor, ...]  # 3 of [m, points]: solution, another, right-hand side
    planes: Tensor  # [s, 6, points]
    inverse: Tensor  # [s, size * size]
    means: Tensor  # [m], as all that follow
    spreads: Tensor
    errors: Tensor
    last: Tensor
    bits: Tensor
    done: Tensor
    cycles: Tensor
    grids: tuple[Grid, ...]
    channels: int

    @property
    def room4(self) -> int:
        """A quarter of a plane's values on the image's grid."""
        return self.u[0].shape[1] // 4

    @property
    def points4(self) -> int:
        """A quarter of ``points``."""
        return self.planes.shape[2] // 4


def allocate(images: Tensor, keep: Tensor) -> Work:
    """For images ``[n, c, h, w]``, keep ``[n, p, h, w]``. Coarse grids begin as zeros, what is outside stays so."""
    n, p, h, w = keep.shape
    c, device = images.shape[1], images.device
    laid = lay_out(h, w)
    room, points = (ceil_div(grid.end, BLOCK) * BLOCK for grid in (laid[0], laid[-1]))
    size = power_of_two(laid[-1].height * laid[-1].width)
    s, m = n * p, n * p * c
    means, spreads = apart(2, m, device=device, dtype=images.dtype)
    errors, last = apart(2, m, device=device)
    bits, done, cycles = apart(3, m, device=device, dtype=torch.int32)
    return Work(
        keep=keep.reshape(s, h, w).to(torch.uint8),
        relax=torch.empty(s, room, device=device, dtype=images.dtype),
        u=apart(3, m, room, device=device, dtype=images.dtype),
        coarse=torch.zeros(3, m, points, device=device).unbind(0),
        planes=torch.zeros(s, 6, points, device=device),
        inverse=torch.empty(s, size * size, device=device),
        means=means,
        spreads=spreads,
        errors=errors,
        last=last,
        bits=bits,
        done=done,
        cycles=cycles,
        grids=laid,
        channels=c,
    )
