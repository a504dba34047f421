"""What takes the place of removed pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never, final

import torch
from torch import Tensor
from torch.nn import functional

from xaimed_core.numbers_given import is_real
from xaimed_kernels.impute import impute


@final
@dataclass(frozen=True)
class Impute:
    """The weighted mean of the neighbours, and noise (Rong et al. 2022): what is left tells little of the mask.

    ``noise``: standard deviation in the images' units, a number or one per channel.
    """

    noise: float | tuple[float, ...] = 0.01
    tol: float = 1e-4

    def __post_init__(self) -> None:
        """Raise ValueError for noise that is no standard deviation."""
        check_noise(*self.spreads)

    @property
    def spreads(self) -> tuple[float, ...]:
        """One standard deviation for all channels, or one for each."""
        return self.noise if isinstance(self.noise, tuple) else (self.noise,)


@final
@dataclass(frozen=True)
class Zero:
    """Zero in the images' units: for normalised images the mean of the data set."""


@final
@dataclass(frozen=True)
class Mean:
    """The mean of each channel of the whole image."""


@final
@dataclass(frozen=True)
class Blur:
    """The image blurred by a Gaussian; ``sigma`` in parts of the shorter side (RISE: 11 x 11 of sigma 5 at 224)."""

    sigma: float = 5 / 224

    def __post_init__(self) -> None:
        if not 0 < self.sigma < math.inf:
            raise ValueError(f"sigma must be positive, in parts of the shorter side, got {self.sigma}")


Removal = Impute | Zero | Mean | Blur


def check_noise(*spreads: object) -> None:
    """Raise ValueError unless these are standard deviations."""
    wrong = [s for s in spreads if not (is_real(s) and 0 <= s < math.inf)]
    if wrong:
        raise ValueError(f"noise must be a standard deviation of at least 0, got {wrong[0]!r}")


def remove(images: Tensor, keep: Tensor, removal: Removal, seeds: Sequence[int]) -> Tensor:
    """``images [n, c, h, w]``, k times behind each other, with what ``keep [k * n, h, w]`` lacks replaced.

    Noise of row i is drawn from ``seeds[i]``.
    """
    again = images.repeat(len(keep) // len(images), 1, 1, 1)
    match removal:
        case Impute():
            filled = impute(again, keep, tol=removal.tol)
            return _with_noise(filled, keep, removal.spreads, seeds) if any(removal.spreads) else filled
        case Zero():
            return again.masked_fill(~keep.unsqueeze(1), 0.0)
        case Mean():
            instead = images.mean((2, 3), keepdim=True, dtype=torch.float32).to(images.dtype)
        case Blur(sigma=sigma):
            instead = gaussian_blur(images, sigma * min(images.shape[2:]))
        case _:
            assert_never(removal)
    return torch.where(keep.unsqueeze(1), again, instead.repeat(len(keep) // len(images), 1, 1, 1))


def _with_noise(images: Tensor, keep: Tensor, spreads: Sequence[float], seeds: Sequence[int]) -> Tensor:
    """Every row from a seed of its own, so that its noise does not depend on how rows are batched."""
    if len(spreads) not in (1, images.shape[1]):
        raise ValueError(
            f"noise must be one number, or one for each of {images.shape[1]} channels, got {len(spreads)}"
        )
    random = torch.Generator(images.device)
    noise = torch.empty(images.shape, device=images.device)
    for row, seed in zip(noise, seeds, strict=True):
        row.normal_(generator=random.manual_seed(seed))
    spread = torch.tensor(spreads, device=images.device).reshape(-1, 1, 1)
    return images + noise.mul_(spread).masked_fill_(keep.unsqueeze(1), 0.0).to(images.dtype)


def gaussian_blur(images: Tensor, sigma: float) -> Tensor:
    """``[n, c, h, w]`` blurred by a Gaussian of ``sigma`` pixels, cut at 3 sigma; the border is repeated."""
    reach = max(1, math.ceil(3 * sigma))
    x = torch.arange(-reach, reach + 1, device=images.device, dtype=torch.float32)
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).to(images.dtype)
    flat = images.flatten(0, 1).unsqueeze(1)
    padded = functional.pad(flat, (reach, reach, reach, reach), mode="replicate")
    rows = functional.conv2d(padded, kernel.view(1, 1, 1, -1))
    return functional.conv2d(rows, kernel.view(1, 1, -1, 1)).view_as(images)
