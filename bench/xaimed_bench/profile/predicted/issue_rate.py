"""How many warp instructions a GPU issues a second, measured by a kernel that does nothing but multiply and add."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from xaimed_bench.measure.clock import Clock
from xaimed_bench.profile.predicted.issue_kernel import multiply_and_add_kernel
from xaimed_bench.profile.roofs import median_seconds

WARPS, PROGRAMS = 4, 16
"""Of a program, and programs for each multiprocessor: 64 warps, all that it holds."""
CHAINS = 8
"""Values of a thread: it goes on with the next where the last product is not there yet."""
VALUES = 32 * WARPS * CHAINS
LONG, ROUNDS = 32, 2000


def launch(out: Tensor, programs: int, rounds: int) -> int:
    """Fill ``out [programs * VALUES]``; how many warp instructions do the products and sums."""
    kernel: Any = multiply_and_add_kernel
    kernel[(programs,)](out, rounds, 0.5, 0.25, LONG=LONG, VALUES=VALUES, num_warps=WARPS)
    return programs * WARPS * CHAINS * LONG * rounds


def measure_issue_rate(device: torch.device) -> float:
    """Warp instructions a second."""
    programs = PROGRAMS * torch.cuda.get_device_properties(device).multi_processor_count
    out = torch.empty(programs * VALUES, device=device)
    seconds = median_seconds(Clock(device), lambda: launch(out, programs, ROUNDS))
    return launch(out, programs, ROUNDS) / seconds
