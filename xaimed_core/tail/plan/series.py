"""Ablations through a smooth pointwise function, all at once: in its Taylor series channels and positions separate.

Where a 1x1 convolution is the first mixing, ablating channel k adds ``w_ok d_kp`` to its result ``b_op``. If a smooth
``f`` follows, and then only linear operations whose slope to the score is ``G_op``, the score changes by

    sum over j >= 1 of  sum_p d_kp^j  sum_o w_ok^j G_op f_j(b_op),      f_j = f's j-th derivative / j!

Each order is one matrix product for all channels, where rows would evaluate ``f`` anew for each. What the orders from
J on add is at most ``sup|f_J| sum_op |G_op| |w_ok d_kp|^J`` (Taylor's theorem), one product more: a channel counts as
done only where that bound is below `SURE` of the image's largest drop. The others are left to rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import final

import torch
from numpy.polynomial import Polynomial
from torch import Tensor

from xaimed_core.tail.plan.steps import Step

SURE = 2.0**-21
"""What a series may leave out, of the largest drop of its image: the rounding of a few float32 additions."""

BOUNDED_AT = (6, 12, 16)
"""Orders, all even, at which what is left out is bounded; the last ends the series."""

ROW = 40
"""Orders of a channel that take as long as a row does (measured: see README.md)."""

WIDEST = 2.0
"""The largest change of ``f``'s argument for which a series is tried: SiLU's converges below pi."""


@final
@dataclass(frozen=True)
class Series:
    """Three parts of a plan's rows. mixing: the first one; curve: a smooth function of it; after: linear operations."""

    mixing: Step
    curve: Step
    after: tuple[Step, ...]

    @property
    def outer(self) -> Callable[[Tensor], Tensor]:
        """See `Mixing.outer`."""
        assert self.mixing.mixing is not None
        assert self.mixing.mixing.outer is not None
        return self.mixing.mixing.outer


def series_of(rows: Sequence[Step], dtype: torch.dtype) -> Series | None:
    """How rows of changes in this precision separate; None where they do not: rows are then all there is."""
    if len(rows) < 3 or dtype == torch.float64:
        return None
    mixing, curve, *after = rows
    if mixing.mixing is None or mixing.mixing.outer is None or mixing.changes or curve.changes:
        return None
    smooth = curve.call.name in SMOOTH and curve.call.reads == mixing.call.results
    made = {r for step in (curve, *after) for r in step.call.results}
    linear = all(step.changes and step.mixing is None and step.depend <= made for step in after)
    return Series(mixing, curve, tuple(after)) if smooth and linear else None


def series_drops(
    name: str, base: Tensor, slope: Tensor, weights: Tensor, seen: Tensor
) -> tuple[Tensor, Tensor]:
    """Drops ``[n, channels]`` and which of them are sure, for a function of `SMOOTH`.

    base, slope: ``b`` and ``G`` of the module's formula, ``[n, out, positions]``; weights: ``w``, ``[channels, out]``;
    seen: ``d``, ``[n, channels, positions]``; all float32.
    """
    smooth = SMOOTH[name]
    size = weights.abs().amax(1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    weights, seen = weights / size, seen * size  # so that no power of the weights is out of range
    reached = seen.abs().amax(2) <= WIDEST
    drops, sure, largest = (
        seen.new_zeros(reached.shape),
        torch.zeros_like(reached),
        seen.new_zeros(len(seen), 1),
    )
    images, channels = (torch.arange(count, device=seen.device) for count in reached.shape)
    by_weight, by_change, coefficients = weights, seen, smooth.coefficients(base, 1)
    for order in range(1, BOUNDED_AT[-1] + 1):
        here = images.unsqueeze(1), channels
        if order in BOUNDED_AT:
            left = smooth.largest(order) * _terms(by_weight, slope.abs(), by_change)
            least = (drops[here].abs() - left).nan_to_num(0.0, 0.0, 0.0).amax(1, keepdim=True)
            largest[images] = torch.maximum(largest[images], least)
            sure[here] |= left <= SURE * largest[images]
            more = reached & ~sure
            if (
                order == BOUNDED_AT[-1]
                or ROW * int(more.sum()) <= (BOUNDED_AT[1] - BOUNDED_AT[0]) * more.numel()
            ):
                break  # rows are cheaper than going on
            kept, among = more[here].any(1).nonzero().squeeze(1), more[here].any(0).nonzero().squeeze(1)
            images, channels = images[kept], channels[among]
            base, slope, weights, by_weight = base[kept], slope[kept], weights[among], by_weight[among]
            seen, by_change = seen[kept][:, among], by_change[kept][:, among]
            here, coefficients = (images.unsqueeze(1), channels), smooth.coefficients(base, order)
        drops[here] -= _terms(by_weight, slope * next(coefficients), by_change)
        by_weight, by_change = by_weight * weights, by_change * seen
    return drops, sure


def _terms(by_weight: Tensor, by_result: Tensor, by_change: Tensor) -> Tensor:
    return (torch.matmul(by_weight, by_result) * by_change).sum(2)


@final
@dataclass(frozen=True)
class Smooth:
    """coefficients: of ``x`` and an order, yields the function's derivatives over factorials there, from that order on.
    largest: of an order, what these are at most anywhere."""

    coefficients: Callable[[Tensor, int], Iterator[Tensor]]
    largest: Callable[[int], float]


def _silu_coefficients(x: Tensor, first: int) -> Iterator[Tensor]:
    """``x s_j + s_(j-1)`` for the logistic function's coefficients ``s_j``."""
    before = torch.sigmoid(x)
    steepness, u = 4 * before * torch.sigmoid(-x), torch.tanh(x / 2)
    square = u * u
    if first > 1:
        before = _horner(_logistic(first - 1), u, square).mul_(steepness)
    for order in range(first, BOUNDED_AT[-1] + 1):
        coefficient = _horner(_logistic(order), u, square).mul_(steepness)
        yield torch.addcmul(before, x, coefficient)
        before = coefficient


def _horner(polynomial: tuple[float, ...], u: Tensor, square: Tensor) -> Tensor:
    """A polynomial of ``u`` that is even or odd, as all of `_logistic` are."""
    odd = len(polynomial) % 2 == 0
    found = torch.full_like(u, polynomial[-1])
    for coefficient in polynomial[-3::-2]:
        found.mul_(square).add_(coefficient)
    return found.mul_(u) if odd else found


@cache
def _logistic(order: int) -> tuple[float, ...]:
    """The logistic function's derivative over the factorial, as a polynomial of ``u = tanh(x / 2)`` times ``1 - u^2``.

    The function is ``(1 + u) / 2``, and ``u' = (1 - u^2) / 2``.
    """
    if order == 1:
        return (0.25,)
    before = Polynomial(_logistic(order - 1)) * Polynomial([1, 0, -1])
    return tuple(map(float, (before.deriv() / (2 * order)).coef))


@cache
def _largest_silu(order: int) -> float:
    """By looking, at points so close that the value between two is at most a hundredth above them."""
    x = torch.linspace(-40, 40, 80001, dtype=torch.float64)  # from order 2 on, nothing is left farther out
    return 1.01 * float(next(_silu_coefficients(x, order)).abs().max())


SMOOTH = {"silu": Smooth(_silu_coefficients, _largest_silu)}
"""Functions of one argument with a series that is known to float32's precision."""
