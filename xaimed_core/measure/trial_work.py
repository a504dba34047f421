"""Real extra work beside a call, by which a trial of the gate makes code slower by a known share."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

SIZE = 96
"""Of the square matrices multiplied: small enough that single products set the share finely."""
TIMED = 9


def with_extra_work(call: Callable[[], Any], share: float, device: torch.device) -> Callable[[], Any]:
    """``call`` followed by matrix products that take ``share`` of its time, as measured here and now."""
    if not 0 < share < 10:
        raise ValueError(f"the share of extra work must lie between 0 and 10, got {share:g}")
    square = torch.full((SIZE, SIZE), 1.0 / SIZE, device=device)
    into = torch.empty_like(square)

    def work(products: int) -> None:
        for _ in range(products):
            torch.mm(square, square, out=into)

    products = round(share * _seconds(call, device) / (_seconds(lambda: work(50), device) / 50))

    def slowed() -> Any:
        result = call()
        work(products)
        return result

    return slowed


def _seconds(call: Callable[[], Any], device: torch.device) -> float:
    """The median of `TIMED` calls after two that warm up."""
    found: list[float] = []
    for _ in range(TIMED + 2):
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        found.append(time.perf_counter() - began)
    return median(found[2:])
