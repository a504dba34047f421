"""The sparse direct solution in float64, and how far a fill is from it."""

import functools
import math

import torch

from xaimed_kernels.impute import impute
from xaimed_kernels.impute.cases import SHAPES, image, mask
from xaimed_kernels.impute.reference import solve

TOL = 1e-4
SMALL = [shape for shape in SHAPES if math.prod(shape) < 20_000]


@functools.cache
def exact(family, height, width, seed=0, channels=3):
    """The definition's solution ``[c, h, w]``, float64, and the range of the kept pixels ``[c]``."""
    picture, keep = image(height, width, seed=seed, channels=channels), mask(family, height, width, seed=seed)
    filled = torch.from_numpy(solve(picture.double().numpy(), keep.numpy()))
    if not keep.any():
        return filled, torch.ones(channels)
    kept = picture[:, keep]
    return filled, kept.amax(1) - kept.amin(1)


def errors(filled, family, height, width, **draw):
    """The largest error of each channel over the range of its kept pixels (over 1 where that is 0)."""
    expected, spread = exact(family, height, width, **draw)
    spread = torch.where(spread > 0, spread, 1.0)
    return (filled.double() - expected).abs().amax((1, 2)) / spread


def rounding(family, height, width, **draw):
    """What writing the exact solution in float32 and normalising it costs, in the units of `errors`."""
    expected, spread = exact(family, height, width, **draw)
    return 1e-7 * (expected.abs().amax((1, 2)) / torch.where(spread > 0, spread, 1.0) + 2)


def one(family, height, width, *, seed=0, channels=3, tol=TOL, backend=None):
    picture = image(height, width, seed=seed, channels=channels)
    keep = mask(family, height, width, seed=seed)
    return impute(picture[None], keep[None], tol=tol, details=True, backend=backend)
