"""Which pixels a map has removed: by exact count, or by grad-cam's threshold. One sort serves all fractions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor

from xaimed_core.numbers_given import is_real

Order = Literal["morf", "lerf"]
"""``morf``: most relevant first, the highest values of the map go; ``lerf``: least relevant first."""

Ties = Literal["rank", "threshold"]
"""``rank``: the exact count, ties in a seeded random order. ``threshold``: grad-cam's rule, all ties together."""


@final
@dataclass(frozen=True)
class Masks:
    """``keep`` bool ``[n, orders, fractions, h, w]``; ``removed`` float32 ``[n, orders, fractions]``: the part
    of the pixels that is really removed, which differs from what was asked by rounding and, with ``threshold``, by
    ties."""

    keep: Tensor
    removed: Tensor


def masks_of(
    maps: Tensor, removed: Sequence[float], orders: Sequence[Order], *, ties: Ties = "rank", seed: int = 0
) -> Masks:
    """Masks of ``maps [n, h, w]`` (any real values, higher is more relevant) for fractions ``removed`` in [0, 1].

    Raises ValueError for maps that are not finite or not ``[n, h, w]``, fractions outside of 0 to 1 or none, and
    unknown words.
    """
    removed = check_fractions(removed)
    _check(maps, orders, ties)
    match ties:
        case "rank":
            keep = _by_rank(maps, removed, orders, seed)
        case "threshold":
            quantiles = [
                round(1 - fraction, 12) for fraction in removed
            ]  # 1 - 0.9 is to be 0.1, as 10 / 100 is
            keep = by_threshold(maps, quantiles, orders)
    return Masks(keep, removed_part(keep))


def removed_part(keep: Tensor) -> Tensor:
    """The part of the pixels that masks ``[..., h, w]`` remove, float32 ``[...]``."""
    return 1 - keep.flatten(-2).float().mean(-1)


def _by_rank(maps: Tensor, removed: Sequence[float], orders: Sequence[Order], seed: int) -> Tensor:
    """Rong et al. 2022: the exact count, ties broken at random, so that a map of zeros removes at random."""
    flat = maps.flatten(1)
    n, pixels = flat.shape
    random = torch.Generator().manual_seed(seed)
    shuffled = torch.stack([torch.randperm(pixels, generator=random) for _ in range(n)]).to(maps.device)
    found = flat.gather(1, shuffled).sort(dim=1, descending=True, stable=True).indices
    order = shuffled.gather(1, found)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(pixels, device=maps.device).expand(n, -1))
    counts = torch.tensor([math.floor(fraction * pixels + 0.5) for fraction in removed], device=maps.device)
    of_order = {"morf": rank, "lerf": pixels - 1 - rank}
    kept = [of_order[name].unsqueeze(1) >= counts.view(1, -1, 1) for name in orders]
    return torch.stack(kept, 1).unflatten(-1, maps.shape[1:])


def by_threshold(
    maps: Tensor, quantiles: Sequence[float], orders: Sequence[Order], *, blend: torch.dtype | None = None
) -> Tensor:
    """grad-cam's rule, to the pixel: keep what is below ``numpy.percentile`` of the map; for lerf of 1 - map.

    ``quantiles``: grad-cam's percentiles over 100. ``blend``: the dtype in which numpy interpolates between two
    values, by default the maps' own (which is so where a percentile is a Python number). ``[n, orders, q, h, w]``.
    """
    ascending = maps.flatten(1).sort(1).values
    kept: list[Tensor] = []
    for order in orders:
        values = maps if order == "morf" else 1 - maps
        ordered = ascending if order == "morf" else (1 - ascending).flip(1)  # 1 - x never changes an order
        threshold = _percentile(ordered, quantiles, blend or maps.dtype)
        kept.append(values.unsqueeze(1) < threshold[:, :, None, None])
    return torch.stack(kept, 1)


def _percentile(ascending: Tensor, quantiles: Sequence[float], blend: torch.dtype) -> Tensor:
    """``numpy.percentile`` by its linear rule in the precision it uses: ``[n, values] -> [n, quantiles]``."""
    last = ascending.shape[1] - 1
    precision = _index_dtype(ascending.dtype)
    position = torch.tensor(quantiles, dtype=precision) * last
    before = position.floor()
    t = (position - before).to(blend).to(ascending.device)
    lower = before.long().to(ascending.device)
    a = ascending[:, lower].to(blend)
    b = ascending[:, (lower + 1).clamp_max(last)].to(blend)
    blended = torch.where(t < 0.5, a + (b - a) * t, b - (b - a) * (1 - t))
    return blended.to(ascending.dtype)


@cache
def _index_dtype(dtype: torch.dtype) -> torch.dtype:
    """numpy 2.0 to 2.3 divide percentiles by a 100 of the array's dtype; before and after it is float64."""
    import numpy

    version = tuple(int(part) for part in numpy.__version__.split(".")[:2])
    return dtype if (2, 0) <= version < (2, 4) else torch.float64


def check_fractions(removed: Any) -> tuple[float, ...]:
    """The fractions as numbers. Raises ValueError unless all are in [0, 1] and there is at least one."""
    given = removed.tolist() if hasattr(removed, "tolist") else removed
    listed = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else []
    real = [part for part in listed if is_real(part) and 0 <= part <= 1]
    if not listed or len(real) < len(listed):
        raise ValueError(
            f"removed must be fractions between 0 and 1, e.g. (0.2, 0.4), got {removed!r}; 20 percent are 0.2"
        )
    return tuple(float(part) for part in real)


def _check(maps: Any, orders: Sequence[Order], ties: Ties) -> None:
    if not isinstance(maps, Tensor):
        raise TypeError(f"maps must be a tensor [n, h, w], got {type(maps).__name__}")
    if maps.ndim != 3 or 0 in maps.shape or not maps.is_floating_point():
        raise ValueError(
            f"maps must be real numbers [n, h, w], got {maps.dtype} {tuple(maps.shape)}; "
            "for one map add the batch axis with map[None]"
        )
    wrong = [order for order in orders if order not in get_args(Order)]
    if wrong or not orders:
        raise ValueError(f"unknown order {wrong or 'none'}; choose from {', '.join(get_args(Order))}")
    if ties not in get_args(Ties):
        raise ValueError(f"unknown ties {ties!r}; choose from {', '.join(get_args(Ties))}")
    bad = ~maps.isfinite().flatten(1).all(1)
    if bool(bad.any()):
        raise ValueError(
            f"the map of image {int(bad.nonzero()[0])} holds NaN or infinity, which cannot be ranked; "
            "leave the image out, or replace the values with torch.nan_to_num"
        )
