"""A gradient CAM's formula, written once for torch tensors and Triton tiles.

Plain operators are what both share. A formula may use ``+ - * /``, comparisons (a truth value multiplies as
0 or 1), ``&`` and ``|`` between comparisons, ``x.abs()``, ``x.relu()``, ``x.sigmoid()``, local names, ``total``, and
numbers, its own or plain ones of its module or closure. It may not use torch functions, keyword arguments,
``**``, indices or axes (tiles have others than tensors), ``if`` on a tensor, or any other name from
outside. It is a ``def`` in a file, of assignments to names and a return at the end, for Triton compiles its source,
once for each piece of a tile; annotations and docstring are left out there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

Weigh = Callable[[Any, Any, Callable[[Any], Any], int], Any]
"""``(a, g, total, positions) -> w``; ``Any`` is a torch tensor ``[n, c, s]`` or a Triton tile."""


@final
@dataclass(frozen=True)
class Formula:
    """How one gradient CAM weighs activation maps: ``map = sum over channels of w * a``.

    ``weights(a, g, total, positions)`` gets activations ``a`` and gradients ``g`` over channels and
    positions, ``total(x)``, the sum of x over positions with the axis kept, and ``positions``, their number; it
    returns ``w``, broadcastable to ``a``. A tile is filled up with ``a = g = 0``, which must add nothing to a total.
    ``per_channel``: one weight for each channel, made of totals; such weights are returned too.
    """

    name: str
    weights: Weigh
    per_channel: bool


@final
@dataclass(frozen=True)
class GradientMaps:
    """``maps [m, n, *spatial]``, signed, and ``weights`` (``[n, c]`` or None), one for each formula."""

    maps: Tensor
    weights: tuple[Tensor | None, ...]
