"""How the phantoms are painted: smooth shapes, low-frequency texture and noise on a square canvas.

Coordinates run from -1 to 1 (x to the right, y downwards). Every scene gives pixels ``[3, s, s]`` in [0, 1]
and the lesion's mask ``[s, s]``, empty where no lesion was asked for.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F


@final
@dataclass(frozen=True)
class Canvas:
    """A square of ``size`` pixels and the random stream that decides what is on it."""

    size: int
    random: torch.Generator

    def axes(self) -> tuple[Tensor, Tensor]:
        """x ``[1, s]`` and y ``[s, 1]`` of the pixel centres."""
        line = (torch.arange(self.size) + 0.5) * (2 / self.size) - 1
        return line.view(1, -1), line.view(-1, 1)

    def draw(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.random))

    def texture(self, cells: int) -> Tensor:
        """Smooth noise ``[s, s]`` of unit spread with about ``cells`` blobs across."""
        coarse = torch.randn(1, 1, cells + 3, cells + 3, generator=self.random)
        fine = F.interpolate(coarse, size=(self.size, self.size), mode="bicubic", align_corners=False)[0, 0]
        return fine / fine.std()

    def noise(self) -> Tensor:
        """Independent noise of unit spread in every pixel, ``[s, s]``."""
        return torch.randn(self.size, self.size, generator=self.random)

    def radius(
        self, centre: tuple[float, float], extent: tuple[float, float], turn: float = 0.0, ragged: float = 0.0
    ) -> Tensor:
        """Distance from an ellipse's centre in units of its half axes, ``[s, s]``: below 1 is inside.

        ``turn`` rotates it (radians), ``ragged`` bends its border by that share of the radius.
        """
        x, y = self.axes()
        dx, dy = x - centre[0], y - centre[1]
        u = (dx * math.cos(turn) + dy * math.sin(turn)) / extent[0]
        v = (dy * math.cos(turn) - dx * math.sin(turn)) / extent[1]
        distance = (u * u + v * v).sqrt()
        if ragged == 0.0:
            return distance
        angle = torch.atan2(v, u)
        bend = sum(
            self.draw(-1, 1) / k * torch.cos(k * angle + self.draw(0, 2 * math.pi)) for k in range(2, 8)
        )
        return distance / (1 + ragged * bend)

    def inside(self, distance: Tensor, softness: float = 0.05) -> Tensor:
        """1 inside, 0 outside, with a border as soft as asked for and never sharper than a pixel."""
        return torch.sigmoid((1 - distance) / max(softness, 1 / self.size) * 4)


def head_mri(canvas: Canvas, lesion: bool) -> tuple[Tensor, Tensor]:
    """An axial slice of a head, as contrast-enhanced T1: scalp, skull, cortex, ventricles, a tumour."""
    tilt = canvas.draw(-0.15, 0.15)
    middle = (canvas.draw(-0.04, 0.04), canvas.draw(-0.04, 0.04))
    wide, high = canvas.draw(0.62, 0.72), canvas.draw(0.76, 0.86)
    scalp, skull, brain = (
        canvas.inside(canvas.radius(middle, (wide * f, high * f), tilt), 0.04) for f in (1.08, 1.02, 0.92)
    )
    image = 0.62 * scalp - 0.55 * skull + 0.36 * brain
    folds = torch.sigmoid(4 * canvas.texture(14)) - 0.5
    rim = canvas.radius(middle, (wide * 0.92, high * 0.92), tilt).clamp(0, 1) ** 3
    image = image + brain * (0.20 * folds * (0.35 + rim) + 0.04 * canvas.texture(5))
    for side in (-1, 1):
        where = (middle[0] + side * canvas.draw(0.07, 0.11), middle[1] - canvas.draw(0.0, 0.1))
        ventricle = canvas.radius(where, (0.06, canvas.draw(0.18, 0.28)), tilt - side * 0.35)
        image = image - 0.28 * canvas.inside(ventricle, 0.3)
    image = image - 0.12 * brain * canvas.inside(canvas.radius(middle, (0.012, high * 0.85), tilt), 0.5)
    distance = torch.full_like(image, math.inf)
    if lesion:
        reach, direction = canvas.draw(0.3, 0.55), canvas.draw(0, 2 * math.pi)
        where = (
            middle[0] + reach * wide * math.cos(direction),
            middle[1] + reach * high * math.sin(direction),
        )
        extent = (canvas.draw(0.11, 0.2), canvas.draw(0.11, 0.2))
        distance = canvas.radius(where, extent, canvas.draw(0, math.pi), ragged=0.15)
        oedema = canvas.inside(distance / 1.6, 0.5)
        core = canvas.inside(distance, 0.15)
        necrosis = canvas.inside(distance / canvas.draw(0.3, 0.7), 0.3)
        image = image * (1 - 0.35 * oedema) + core * (0.5 + 0.05 * canvas.texture(20)) - 0.3 * necrosis
    x, y = canvas.axes()
    coil = 1 + canvas.draw(-0.15, 0.15) * x + canvas.draw(-0.15, 0.15) * y
    image = image.clamp_min(0) * coil
    noise = canvas.draw(0.01, 0.025)  # magnitude images carry Rician noise
    image = ((image + noise * canvas.noise()) ** 2 + (noise * canvas.noise()) ** 2).sqrt()
    return image.clamp(0, 1).expand(3, -1, -1).contiguous(), distance < 1


def dermoscopy(canvas: Canvas, lesion: bool) -> tuple[Tensor, Tensor]:
    """Skin under a dermatoscope: shaded skin, a pigmented lesion with a network, hairs, dark corners."""
    skin = torch.tensor([canvas.draw(0.78, 0.9), canvas.draw(0.58, 0.68), canvas.draw(0.52, 0.62)])
    shade = 1 + 0.05 * canvas.texture(2) + 0.025 * canvas.texture(24) + 0.012 * canvas.noise()
    image = skin.view(3, 1, 1) * shade
    distance = torch.full_like(shade, math.inf)
    if lesion:
        where = (canvas.draw(-0.3, 0.3), canvas.draw(-0.3, 0.3))
        extent = (canvas.draw(0.25, 0.5), canvas.draw(0.25, 0.5))
        distance = canvas.radius(where, extent, canvas.draw(0, math.pi), ragged=0.3)
        pigment = torch.tensor([canvas.draw(0.35, 0.5), canvas.draw(0.2, 0.3), canvas.draw(0.12, 0.2)])
        network = 1 + 0.12 * canvas.texture(30) + 0.18 * canvas.texture(6)
        core = canvas.inside(distance, canvas.draw(0.25, 0.6))
        dark = 1 - 0.35 * canvas.inside(distance / canvas.draw(0.4, 0.7), 0.8)
        image = image * (1 - core) + core * (pigment.view(3, 1, 1) * network * dark)
    for _ in range(int(canvas.draw(0, 9))):
        image = image * (1 - 0.7 * _hair(canvas))
    corner = canvas.inside(canvas.radius((0, 0), (1.25, 1.25)), 0.6)
    return (image * (0.35 + 0.65 * corner)).clamp(0, 1), distance < 1


def _hair(canvas: Canvas) -> Tensor:
    """One dark, thin, curved line across the canvas, ``[s, s]`` in [0, 1]."""
    x, y = canvas.axes()
    turn = canvas.draw(0, math.pi)
    along, across = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    offset = across - canvas.draw(-0.9, 0.9) - canvas.draw(-0.4, 0.4) * along**2
    thickness = max(canvas.draw(0.006, 0.014), 0.7 / canvas.size)
    return torch.exp(-((offset / thickness) ** 2))


def chest_xray(canvas: Canvas, lesion: bool) -> tuple[Tensor, Tensor]:
    """A frontal chest X-ray: dark lungs between bright spine, heart and diaphragm, ribs, an opacity."""
    x, y = canvas.axes()
    body = canvas.inside(canvas.radius((0, 0.35), (canvas.draw(0.95, 1.1), 1.25)), 0.25)
    image = body * (0.55 + 0.06 * canvas.texture(3))
    centres = [(s * canvas.draw(0.40, 0.45), canvas.draw(-0.05, 0.02)) for s in (-1, 1)]
    extents = [(canvas.draw(0.29, 0.34), canvas.draw(0.62, 0.70)) for _ in (-1, 1)]
    lungs = sum(
        canvas.inside(canvas.radius(c, e, -0.12 * math.copysign(1, c[0])), 0.12)
        for c, e in zip(centres, extents, strict=True)
    )
    dome = torch.sigmoid((y - 0.5 + 0.35 * (x.abs() - 0.42) ** 2 * 4) * 14)
    lungs = lungs * (1 - dome)
    vessels = 0.05 * canvas.texture(16) * torch.exp(-2 * (x.abs() - 0.2).clamp_min(0))
    image = image - lungs * (0.40 + vessels)
    spacing, phase = canvas.draw(0.19, 0.23), canvas.draw(0, 1)
    arch = y + 0.55 * (x.abs() - 0.15) ** 2 - 0.25 * x.abs()
    ribs = torch.sigmoid(12 * (torch.cos(2 * math.pi * (arch / spacing + phase)) - 0.45))
    image = image + 0.10 * ribs * body * torch.sigmoid((0.85 - x.abs()) * 12) * (0.4 + 0.6 * lungs)
    image = image + 0.22 * torch.exp(-((x / 0.1) ** 2)) * body
    heart = canvas.radius((canvas.draw(0.1, 0.16), 0.3), (canvas.draw(0.26, 0.34), 0.3), 0.5)
    image = image + 0.26 * canvas.inside(heart, 0.35) * lungs.add(0.35).clamp_max(1)
    distance = torch.full_like(image, math.inf)
    if lesion:
        side = int(canvas.draw(0, 2))
        where = (
            centres[side][0] + canvas.draw(-0.08, 0.08) + 0.06 * (2 * side - 1),
            centres[side][1] + canvas.draw(-0.35, 0.35),
        )
        extent = (canvas.draw(0.1, 0.18), canvas.draw(0.1, 0.2))
        distance = canvas.radius(where, extent, canvas.draw(0, math.pi), ragged=0.35)
        image = image + canvas.inside(distance, 0.7) * (0.3 + 0.05 * canvas.texture(18))
    image = image + canvas.draw(0.008, 0.018) * canvas.noise()
    return image.clamp(0, 1).expand(3, -1, -1).contiguous(), distance < 1
