"""Real extra work beside a call, by which a trial of the gate makes code slower by a known share."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

SIZE = 96
"""Of the square matrices multiplied: small enough that single products set the share finely."""
TIMED = 25
CORRECTIONS = 3
"""What products take shows only together with the call, which fills the caches: each correction comes nearer."""


def with_extra_work(call: Callable[[], Any], share: float, device: torch.device) -> Callable[[], Any]:
    """``call`` followed by matrix products that take ``share`` of its time, as measured here and now."""
    return with_products(call, products_for(call, share, device), device)


def with_products(call: Callable[[], Any], count: int, device: torch.device) -> Callable[[], Any]:
    """``call`` followed by so many matrix products."""
    square = torch.full((SIZE, SIZE), 1.0 / SIZE, device=device)
    into = torch.empty_like(square)

    def slowed() -> Any:
        result = call()
        for _ in range(count):
            torch.mm(square, square, out=into)
        return result

    return slowed


def products_for(call: Callable[[], Any], share: float, device: torch.device, timed: int = TIMED) -> int:
    """How many products take ``share`` of the call's time, as measured here and now by ``timed`` calls."""
    if not 0 < share < 10:
        raise ValueError(f"the share of extra work must lie between 0 and 10, got {share:g}")
    count = 50
    for _ in range(CORRECTIONS):
        alone_s, both_s = _seconds([call, with_products(call, count, device)], device, timed)
        added = max(both_s / alone_s - 1, share / 10)
        count = max(1, round(count * share / added))
    return count


def _seconds(calls: Sequence[Callable[[], Any]], device: torch.device, timed: int) -> list[float]:
    """The shortest of ``timed`` calls of each, in turns after two to warm up: what else runs only lengthens a call."""
    found: list[list[float]] = [[] for _ in calls]
    for _ in range(timed + 2):
        for times, call in zip(found, calls, strict=True):
            began = time.perf_counter()
            call()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter() - began)
    return [min(times[2:]) for times in found]
