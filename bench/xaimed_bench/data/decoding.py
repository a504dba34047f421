"""One image or mask from a file, exactly as it is shown, or refused: what would be read wrongly is not read."""

from __future__ import annotations

import stat
import struct
import warnings
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from PIL.ImageFile import ImageFile

_DEEP = ("I", "F")
"""What PIL's names of modes with more than 8 bits begin with."""
_DAMAGED = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OverflowError,
    struct.error,
    SyntaxError,
    TypeError,
    zlib.error,
)
"""What PIL raises for damaged files besides OSError and ValueError."""
_TURNED = range(2, 9)
_ORIENTATION = 0x0112  # of EXIF


@final
@dataclass(frozen=True)
class Decoded:
    """An image: pixels uint8 ``[3, size, size]``, the file's width and height as shown, and remarks on how it was read.

    A remark completes the sentence "3 images ...".
    """

    pixels: Tensor
    shown: tuple[int, int]
    remarks: tuple[str, ...]


class UnreadableError(ValueError):
    """An image, or its mask, that cannot be read rightly; the message completes the sentence "1.png: ..."."""


@final
@dataclass(frozen=True)
class Reading:
    """An image with its mask: as in `Decoded`, the mask bool ``[size, size]``, None where there is no file of one."""

    image: Decoded
    mask: Tensor | None
    remarks: tuple[str, ...]


def read(path: Path, mask: Path | None, size: int) -> Reading:
    """An image and its mask. Raises UnreadableError where either cannot be right."""
    try:
        image = decode(path, size)
        if mask is None:
            return Reading(image, None, image.remarks)
        drawn, remarks = decode_mask(mask, size, image.shown)
    except (OSError, ValueError) as error:
        raise UnreadableError(getattr(error, "strerror", None) or str(error)) from error
    return Reading(image, drawn, (*image.remarks, *(f"have a mask that {remark}" for remark in remarks)))


def decode(path: Path, size: int) -> Decoded:
    """The whole image, stretched to the square. Raises OSError or ValueError where it cannot be right."""
    from PIL import Image

    with _opened(path, "it") as (image, turned, warned):
        deep = image.mode.startswith(_DEEP)
        colours = (_windowed(image) if deep else image).convert("RGB")
        pixels = _tensor(colours.resize((size, size), Image.Resampling.BILINEAR))
        remarks = {
            "have more than 8 bits; each was windowed to its own range": deep,
            "were turned as their EXIF orientation says": turned,
        }
        return Decoded(pixels, image.size, (*(remark for remark, holds in remarks.items() if holds), *warned))


def thumbnail(path: Path) -> Image.Image:
    """A small grey image of at least 128 pixels a side where the file has them. Raises as `decode` does."""
    with _opened(path, "it", draft=128) as (image, _, _):
        return (_windowed(image) if image.mode.startswith(_DEEP) else image).convert("L")


def decode_mask(path: Path, size: int, shown: tuple[int, int]) -> tuple[Tensor, tuple[str, ...]]:
    """Bool ``[size, size]``: not black; in a JPEG, whose borders ring, brighter than half. The majority decides.

    ``shown``: the width and height of its image, whose proportions it must have. Also remarks on the mask, which
    complete the sentence "3 images have a mask that ...".
    """
    from PIL import Image

    with _opened(path, "its mask") as (image, _, warned):
        if abs(image.width * shown[1] - image.height * shown[0]) > max(*image.size, *shown):
            raise ValueError(f"its mask {path.name} is {_by(image.size)}, the image {_by(shown)} pixels")
        threshold = 127 if image.format in ("JPEG", "MPO") else 0
        deep = image.mode.startswith(_DEEP)
        values = _finite(image, "its mask") if deep else _tensor(image.convert("RGB")).amax(0).numpy()
        lesion = torch.from_numpy((values > threshold).astype("uint8") * 255)
        small = Image.fromarray(lesion.numpy()).resize((size, size), Image.Resampling.BOX)
        mask = _tensor(small)[0] > 127
        remarks = {
            "was of another size and was stretched with it": image.size != shown,
            f"marks nothing at {size} x {size} pixels": not bool(mask.any()),
            "marks the whole image": bool(mask.all()),
        }
        return mask, (*(remark for remark, holds in remarks.items() if holds), *warned)


@contextmanager
def _opened(
    path: Path, what: str, draft: int | None = None
) -> Generator[tuple[Image.Image, bool, list[str]]]:
    """The image as a viewer shows it, whether EXIF turned it, and PIL's warnings as remarks.

    Raises OSError or ValueError for what PIL cannot read, or would read wrongly. ``what``: the subject of the errors'
    sentences. ``draft``: a JPEG may be read at a fraction of its size that leaves so many pixels a side, which is
    several times faster.
    """
    from PIL import Image

    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a pipe would be waited for without end
        raise ValueError(f"{what} is no regular file")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image, turned = _load(path, what, draft)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise ValueError(f"{what} is too large: {error}") from error
        except _DAMAGED as error:
            raise ValueError(f"{what} is damaged: {error}") from error
    with image:
        yield image, turned, [f"raise a warning of PIL: {str(warning.message).strip()}" for warning in said]


def _load(path: Path, what: str, draft: int | None) -> tuple[ImageFile, bool]:
    """The image as a viewer shows it, and whether EXIF turned it. Raises ValueError, and whatever PIL raises."""
    from PIL import Image, ImageOps

    image = Image.open(path)
    try:
        _refuse_unfaithful(image, what)
        if draft:
            image.draft(None, (draft, draft))
        image.load()
        if image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema() != (255, 255):
            raise ValueError(
                f"{what} has transparent pixels, whose colour nobody sees; save it without transparency"
            )
        turned = image.getexif().get(_ORIENTATION) in _TURNED
        ImageOps.exif_transpose(image, in_place=True)
    except BaseException:
        image.close()
        raise
    return image, turned


def _refuse_unfaithful(image: ImageFile, what: str) -> None:
    """Raise ValueError for what PIL would read wrongly without a word."""
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # whose further frames are previews
        raise ValueError(f"{what} holds several frames; save the one that is meant")
    if min(image.size) < 2:
        raise ValueError(f"{what} is {_by(image.size)} pixels, which shows nothing")
    if not image.mode.startswith(_DEEP) and any(";16" in str(tile) for tile in image.tile):
        raise ValueError(
            f"{what} has 16 bits a channel in colour, of which 8 would be lost; save 8 bits or grey"
        )


def _finite(image: Image.Image, what: str) -> np.ndarray:
    import numpy as np

    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{what} holds NaN or infinite values; replace them by the background's")
    return values


def _windowed(image: Image.Image) -> Image.Image:
    """An image of 16 or 32 bits, its own range spread over 0 to 255."""
    import numpy as np
    from PIL import Image

    values = _finite(image, "it")
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-12))).round().astype(np.uint8))


def _tensor(image: Image.Image) -> Tensor:
    raw = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return raw.view(image.height, image.width, -1).permute(2, 0, 1)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
