"""Small made images for the tests of sets: each looks like no other unless it is meant to."""

from __future__ import annotations

import shutil
import zlib
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, *, width: int = 96, height: int = 80) -> Image.Image:
    """Noise coarse enough for a perceptual hash to see and for JPEG to keep."""
    coarse = np.random.default_rng(seed).integers(0, 255, (20, 24, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def paint(path: Path, seed: int | None = None, **how: int) -> Path:
    """An image file that looks as ``seed``, or its path, says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    own = zlib.crc32("/".join(path.parts[-3:]).encode())
    picture(own if seed is None else seed, **how).save(path)
    return path


def copy(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copyfile(source, target))


def save_again(source: Path, target: Path, *, quality: int = 90) -> Path:
    """The same picture with other bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Image.open(source) as image:
        image.convert("RGB").save(target, "JPEG", quality=quality)
    return target
