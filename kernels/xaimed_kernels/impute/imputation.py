"""What filling removed pixels gives: the images and how well they solve the system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from torch import Tensor


@final
@dataclass(frozen=True)
class Imputation:
    """Filled images and the account of their solution, one number per system (image, mask) and channel.

    ``images [n, (p,) c, h, w]``: kept pixels untouched, removed ones filled (and noisy, if asked).
    ``cycles [n, (p,) c]``: multigrid cycles spent; 0 where nothing had to be solved, and by the reference.
    ``error [n, (p,) c]``: the estimated largest error of a filled pixel, divided by the range of the kept pixels.
    ``residual [n, (p,) c]``: the largest of ``|sum_j w_ij (u_j - u_i)|`` before noise (weights 1/6 and 1/12),
    divided by the same range.
    ``unreached [n, (p,)]``: nothing was kept, so that removed pixels touch no kept one; they are 0.
    """

    images: Tensor
    cycles: Tensor
    error: Tensor
    residual: Tensor
    unreached: Tensor


@final
@dataclass(frozen=True)
class Filled:
    """What a backend returns: float32 (or float64) images ``[n, p, c, h, w]``, cycles and errors ``[n, p, c]``.

    ``settled``: the errors have been read already, and are within the tolerance.
    """

    images: Tensor
    cycles: Tensor
    error: Tensor
    settled: bool = False
