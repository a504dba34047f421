"""Maps that know nothing of the model, beside which every faithfulness table shows the others."""

from __future__ import annotations

import torch
from torch import Tensor

from xaimed_core.faithfulness.removal import gaussian_blur
from xaimed_kernels.rescale_maps.reference import min_max

BLUR_BIAS = (
    "ROAD favours blurred maps: a blurred copy of a map often scores as high as the map (arXiv 2304.13836), and a "
    "centre-Gaussian as high as any where lesions are central. A method is better than these rows or it is not good."
)


def random_maps(count: int, size: tuple[int, int], *, seed: int = 0) -> Tensor:
    """Independent uniform values, ``[count, h, w]``: no method should score below these."""
    return torch.rand(count, *size, generator=torch.Generator().manual_seed(seed))


def centre_gaussian(count: int, size: tuple[int, int]) -> Tensor:
    """The same Gaussian at the centre of every image, ``[count, h, w]``; its sigma is a quarter of each side."""
    y, x = (torch.linspace(-0.5, 0.5, side) if side > 1 else torch.zeros(1) for side in size)
    bell = torch.exp(-(y[:, None] ** 2 + x[None, :] ** 2) / (2 * 0.25**2))
    return bell.expand(count, -1, -1).clone()


def blurred(maps: Tensor, *, sigma: float = 1 / 16) -> Tensor:
    """A blurred copy of ``maps [n, h, w]``, scaled to [0, 1]; ``sigma`` in parts of the shorter side."""
    soft = gaussian_blur(maps.unsqueeze(1), sigma * min(maps.shape[1:])).squeeze(1)
    return min_max(soft)[0]
