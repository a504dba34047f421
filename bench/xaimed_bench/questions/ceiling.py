"""How cheap exact ablations can be: multiply-adds counted, whatever they take in seconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from xaimed_reports.store.records import Ceiling

Call = Callable[[], Any]


def count_ceiling(forward: Call, exact: Call, channels: int) -> Ceiling:
    """Count ``forward``, the plain forward, and ``exact``, a call that ablates each of ``channels`` exactly.

    ``exact`` has run before, so that nothing is recorded or checked any more. Counted are matrix products and
    convolutions; memory traffic and pointwise work are not, so that networks made of these stay below their ceiling.
    """
    return Ceiling(channels, _flops(forward), _flops(exact))


def _flops(call: Call) -> int:
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
