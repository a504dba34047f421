"""Pictures kept beside a run: images and maps, as small PNGs that a page can hold."""

from __future__ import annotations

import base64
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
from numpy.typing import NDArray

from xaimed_reports.store.jsonform import MOST_BYTES, UnreadableError
from xaimed_reports.store.load import pictures_path

MAP_COLOURS = "inferno"


@final
@dataclass(frozen=True)
class Picture:
    """One picture: what it shows, and its PNG as a data address."""

    name: str
    address: str


def load_pictures(run: Path) -> dict[str, tuple[Picture, ...]]:
    """The pictures of each case by its key; none where the run was stored without. Raises UnreadableError."""
    path = pictures_path(run)
    if not path.exists():
        return {}
    found: dict[str, tuple[Picture, ...]] = {}
    for name, pixels in read_pictures(path).items():
        key, _, what = name.rpartition("/")
        found[key] = (*found.get(key, ()), Picture(what, _png(pixels)))
    return found


def read_pictures(path: Path) -> dict[str, NDArray[np.uint8]]:
    """The arrays ``[h, w]`` or ``[h, w, 3]`` of a file of pictures, by name. Raises UnreadableError."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > MOST_BYTES:
                raise UnreadableError(
                    f"{path.name}: larger than {MOST_BYTES >> 20} MiB, which no pictures are"
                )
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except UnreadableError:
        raise
    except (
        Exception
    ) as error:  # a damaged archive raises whatever its reader stumbles over, MemoryError among it
        raise UnreadableError(
            f"{path.name}: damaged; remove it, or give --no-images ({type(error).__name__})"
        ) from error
    for name, pixels in found.items():
        shape = pixels.shape if pixels.ndim == 2 else pixels.shape[:2] if pixels.shape[2:] == (3,) else ()
        if pixels.dtype != np.uint8 or len(shape) != 2 or 0 in shape:
            raise UnreadableError(
                f"{path.name}: {name[:80]!r} is no picture but {pixels.dtype} {pixels.shape}"
            )
    return found


def _png(pixels: NDArray[np.uint8]) -> str:
    """Bytes ``[h, w]`` (a map, in colours of even brightness steps) or ``[h, w, 3]`` (an image) as a PNG."""
    from matplotlib.image import imsave

    buffer = io.BytesIO()
    if pixels.ndim == 2:
        imsave(buffer, pixels, cmap=MAP_COLOURS, vmin=0, vmax=255, format="png")
    else:
        imsave(buffer, pixels, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
