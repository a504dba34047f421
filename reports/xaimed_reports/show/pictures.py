"""Pictures kept beside a run: images and maps, as small PNGs that a page can hold."""

from __future__ import annotations

import base64
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from xaimed_reports.store.load import pictures_path

MAP_COLOURS = "inferno"


@final
@dataclass(frozen=True)
class Picture:
    """One picture: what it shows, and its PNG as a data address."""

    name: str
    address: str


def load_pictures(run: Path) -> dict[str, tuple[Picture, ...]]:
    """The pictures of each case by its key; none where the run was stored without, or they cannot be read."""
    path = pictures_path(run)
    if not path.exists():
        return {}
    found: dict[str, tuple[Picture, ...]] = {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            for name in stored.files:
                key, _, what = name.rpartition("/")
                found[key] = (*found.get(key, ()), Picture(what, _png(stored[name])))
    except (OSError, ValueError, zipfile.BadZipFile):
        return {}
    return found


def _png(pixels: NDArray[Any]) -> str:
    """Bytes ``[h, w]`` (a map, in colours of even brightness steps) or ``[h, w, 3]`` (an image) as a PNG."""
    from matplotlib.image import imsave

    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ValueError(f"a picture must be bytes [h, w] or [h, w, 3], got {pixels.dtype} {pixels.shape}")
    buffer = io.BytesIO()
    if pixels.ndim == 2:
        imsave(buffer, pixels, cmap=MAP_COLOURS, vmin=0, vmax=255, format="png")
    else:
        imsave(buffer, pixels, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
