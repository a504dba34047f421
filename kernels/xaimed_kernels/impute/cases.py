"""Masks and images that tests and benches of the imputation share: every shape a hole may have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import final

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from xaimed_kernels.impute import FLOAT32_TOL

Mask = NDArray[np.bool_]
Draw = Callable[[Generator, int, int], Mask]


def image(height: int, width: int, *, channels: int = 3, seed: int = 0) -> Tensor:
    """A seeded image ``[c, h, w]`` float32: smooth structure, a step and noise, away from zero."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / max(height, width, 2)
    phase = rng.uniform(0, 6.28, (channels, 3, 1, 1))
    smooth = sum(np.sin(6.28 * (k + 1) * (y * (k + 1) + x) + phase[:, k]) for k in range(3))
    noisy = smooth + (x > y) + 0.3 * rng.standard_normal((channels, height, width)) + 3
    return torch.from_numpy(noisy.astype(np.float32))


def heat(rng: Generator, height: int, width: int) -> NDArray[np.float64]:
    """A map like a CAM: 7 x 7 values, resized bilinearly."""
    low = torch.from_numpy(rng.random((1, 1, 7, 7)))
    return torch.nn.functional.interpolate(low, (height, width), mode="bilinear")[0, 0].numpy()


def _cam(rng: Generator, height: int, width: int, *, kept: float) -> Mask:
    map_ = heat(rng, height, width)
    return map_ <= np.quantile(map_, kept)


def _scattered(rng: Generator, height: int, width: int, *, kept: float) -> Mask:
    return rng.random((height, width)) < kept


def _cam_and_dust(rng: Generator, height: int, width: int) -> Mask:
    """A small hole, single pixels off it, and its edge eaten: coarse vertices that see little of what is removed."""
    map_ = heat(rng, height, width) + 0.05 * rng.standard_normal((height, width))
    return map_ <= np.quantile(map_, 0.95)


def _pixels(rng: Generator, height: int, width: int, *, places: tuple[tuple[float, float], ...]) -> Mask:
    keep = np.zeros((height, width), dtype=bool)
    for y, x in places:
        keep[round(y * (height - 1)), round(x * (width - 1))] = True
    return keep


def _pair(rng: Generator, height: int, width: int) -> Mask:
    """Two neighbours: the rest floats between them."""
    keep = np.zeros((height, width), dtype=bool)
    keep[height // 2, width // 2] = keep[height // 2, max(width // 2 - 1, 0)] = True
    return keep


def _checkerboard(rng: Generator, height: int, width: int, *, side: int) -> Mask:
    y, x = np.mgrid[:height, :width] // side
    return (y + x) % 2 == 0


def _stripes(rng: Generator, height: int, width: int, *, every: int, axis: int) -> Mask:
    return np.mgrid[:height, :width][axis] % every == 0


def _edge_distance(height: int, width: int) -> NDArray[np.int64]:
    y, x = np.mgrid[:height, :width]
    return np.minimum(np.minimum(y, height - 1 - y), np.minimum(x, width - 1 - x))


def _frame(rng: Generator, height: int, width: int) -> Mask:
    return _edge_distance(height, width) == 0


def _rings(rng: Generator, height: int, width: int, *, every: int) -> Mask:
    return _edge_distance(height, width) % every == 0


def _around_a_disc(rng: Generator, height: int, width: int) -> Mask:
    y, x = np.mgrid[:height, :width]
    return (y - height / 2) ** 2 + (x - width / 2) ** 2 > (0.45 * min(height, width)) ** 2


def _maze(rng: Generator, height: int, width: int) -> Mask:
    """Walls of a binary-tree maze: each even point joined to the right or below."""
    keep = np.zeros((height + 1, width + 1), dtype=bool)
    keep[:height:2, :width:2] = True
    right = rng.random(keep[:height:2, :width:2].shape) < 0.5
    keep[:height:2, 1 : width + 1 : 2] |= right
    keep[1 : height + 1 : 2, :width:2] |= ~right
    return keep[:height, :width]


def _spiral(rng: Generator, height: int, width: int, *, turns: int) -> Mask:
    t = np.linspace(0, 1, 400_000)
    radius, angle = t * min(height, width) / 2, 2 * np.pi * turns * t
    y = np.clip(height / 2 + radius * np.sin(angle), 0, height - 1).astype(int)
    x = np.clip(width / 2 + radius * np.cos(angle), 0, width - 1).astype(int)
    keep = np.zeros((height, width), dtype=bool)
    keep[y, x] = True
    return keep


def _slits(rng: Generator, height: int, width: int) -> Mask:
    """Kept lines with few gaps: chambers that are almost closed."""
    y, x = np.mgrid[:height, :width]
    return (y % 8 == 0) & (x % 16 != 3)


def _half(rng: Generator, height: int, width: int) -> Mask:
    return np.mgrid[:height, :width][1] < width // 2


def _inverted(draw: Draw, rng: Generator, height: int, width: int) -> Mask:
    return ~draw(rng, height, width)


_SPIRALS = {f"spiral of {turns} turns": partial(_spiral, turns=turns) for turns in (7, 30)}

FAMILIES: dict[str, Draw] = {
    **{f"cam, {k:.0%} kept": partial(_cam, kept=k) for k in (0.2, 0.5, 0.8)},
    **{f"scattered, {k:.0%} kept": partial(_scattered, kept=k) for k in (0.01, 0.1, 0.5, 0.9, 0.99)},
    "cam and dust": _cam_and_dust,
    "one pixel kept": partial(_pixels, places=((0.3, 0.5),)),
    "one pixel removed": partial(_inverted, partial(_pixels, places=((0.3, 0.5),))),
    "two opposite corners": partial(_pixels, places=((0, 0), (1, 1))),
    "four corners": partial(_pixels, places=((0, 0), (0, 1), (1, 0), (1, 1))),
    "two neighbours": _pair,
    "checkerboard": partial(_checkerboard, side=1),
    "checkerboard of 4": partial(_checkerboard, side=4),
    "rows": partial(_stripes, every=2, axis=0),
    "columns of 5": partial(_stripes, every=5, axis=1),
    "one column": partial(_stripes, every=1 << 30, axis=1),
    "frame": _frame,
    "inside a frame": partial(_inverted, _frame),
    "rings": partial(_rings, every=2),
    "rings of 4": partial(_rings, every=4),
    "around a disc": _around_a_disc,
    "maze": _maze,
    "corridors of a maze": partial(_inverted, _maze),
    **_SPIRALS,
    **{f"beside a {name}": partial(_inverted, draw) for name, draw in _SPIRALS.items()},
    "slits": _slits,
    "half": _half,
}
"""Families of masks by name: a draw takes a random generator, a height and a width; True is kept."""

SHAPES = (
    (224, 224),
    (97, 128),
    (128, 97),
    (33, 200),
    (64, 64),
    (65, 65),
    (31, 30),
    (16, 17),
    (7, 5),
    (2, 40),
    (3, 3),
)
"""Heights and widths: even, odd, powers of two and one more, flat, tiny."""

LINES = ((1, 1), (1, 2), (2, 1), (1, 3), (1, 64), (1, 1000), (999, 1), (2, 2))
"""Single rows and columns, and what is smaller than a neighbourhood."""


def swept_bytes(cycles: Tensor, pixels: int) -> int:
    """What fully fused sweeps of an image's float32 grid must move, for the ``cycles [..., c]`` that a solution took.

    A cycle holds 4 sweeps; each reads and writes the solution of a channel, and reads a system's mask once for all.
    """
    return 4 * pixels * int(8 * cycles.sum() + cycles.amax(-1).sum())


def mask(family: str, height: int, width: int, *, seed: int = 0) -> Tensor:
    """The mask ``[h, w]`` of a family, drawn from ``seed``."""
    return torch.from_numpy(
        np.ascontiguousarray(FAMILIES[family](np.random.default_rng(seed), height, width))
    )


CAM_MASKS = tuple(f"cam, {kept} kept" for kept in ("20%", "50%", "80%"))


@final
@dataclass(frozen=True)
class Case:
    """Seeded images of 3 channels, each with a mask of every one of these families, and the tolerance."""

    height: int
    width: int
    images: int = 2
    families: tuple[str, ...] = CAM_MASKS
    tol: float = 1e-4

    def __str__(self) -> str:
        return f"{self.label}-tol{self.tol:g}"

    @property
    def plain(self) -> bool:
        """Always contiguous float32."""
        return True

    @property
    def label(self) -> str:
        """Sizes and masks."""
        kept = "+".join(family.removeprefix("cam, ") for family in self.families)
        return f"{self.images}x3x{self.height}x{self.width}, {kept}"

    @property
    def values(self) -> int:
        """How many values are solved for, or kept."""
        return self.images * len(self.families) * 3 * self.height * self.width

    def at_most(self, images: int) -> Case:
        """The case with no more images than these."""
        return replace(self, images=min(self.images, images))

    def make(self, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
        """Images ``[n, 3, h, w]`` and masks ``[n, families, h, w]``; on "meta" their shapes alone."""
        size, shape = (self.height, self.width), (self.images, len(self.families), self.height, self.width)
        if str(device) == "meta":
            pixels = torch.empty(self.images, 3, *size, device="meta")
            return pixels, torch.empty(shape, dtype=torch.bool, device="meta")
        seeds = range(self.images)
        keep = [torch.stack([mask(family, *size, seed=i) for family in self.families]) for i in seeds]
        return torch.stack([image(*size, seed=i) for i in seeds]).to(device), torch.stack(keep).to(device)


CASES = (
    Case(224, 224),
    Case(512, 512),
    Case(33, 30),
    Case(224, 224, tol=FLOAT32_TOL / 10),
)
"""Images of classifiers, larger ones, one so small that a single program holds all its coarse grids, and a solution
refined in float64."""

BENCH_CASES = tuple(Case(224, 224, images=64, families=(family,)) for family in CAM_MASKS)
