"""What share of a GPU's copy bandwidth the imputation's solver reaches.

Its bytes are those of a fully fused sweep over the image, times the sweeps it took: the solution read and written
once, the mask read once; coarse grids are left out, whatever they cost. The column "forward" is a device-to-device
copy of as many bytes, so that one over xaimed's "forwards" is the share of the copy bandwidth.
"""

from __future__ import annotations

from functools import partial

import pytest
import torch

from xaimed_bench.measure import of_values
from xaimed_kernels.impute import impute
from xaimed_kernels.impute.cases import Case, swept_bytes

if not torch.cuda.is_available():
    pytest.skip(
        "the solver's bandwidth is measured on CUDA devices, and there is none", allow_module_level=True
    )

SYSTEMS = 256
"""Beyond any L2 cache at 224 x 224 with 3 channels: 154 MB for the solution alone."""

BUDGET = 1e-4
"""Largest error over the largest value of what the CPU path, which is tested against float64, fills."""


@pytest.mark.parametrize("kept", ["20", "50", "80"])
def bench_filling_beside_a_copy(measure, kept):
    some = Case(224, 224, images=8, families=(f"cam, {kept}% kept",)).make("cuda")
    images, keep = (part.repeat_interleave(SYSTEMS // 8, dim=0) for part in some)
    moved = swept_bytes(impute(images, keep, details=True).cycles, 224 * 224)
    source = torch.empty(moved // 2, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    measure(
        lambda: impute(images, keep),
        truth=lambda: impute(images.cpu(), keep.cpu()),
        judge=partial(of_values, name="filled pixels"),
        allowed=BUDGET,
        forward=lambda: target.copy_(source),
        images=SYSTEMS,
        notes=lambda _: [f"{moved} bytes of fused sweeps; the forward column copies as many"],
    )
