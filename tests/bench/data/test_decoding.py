"""Files that PIL reads wrongly without a word are read rightly, or left out with the reason."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xaimed_bench.data import IMAGENET, ImageBatch, load_images

SIZE = 16


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_16_bits(values: np.ndarray) -> bytes:
    """``values [h, w, channels]`` as a PNG file, which PIL cannot write in colour."""
    height, width, channels = values.shape
    colours = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, colours, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def picture(mode: str = "RGB", *, width: int = 40, height: int = 30) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def with_alpha(mode: str) -> Image.Image:
    image = picture(mode)
    image.putpixel((0, 0), (*image.getpixel((0, 0))[:-1], 254))
    return image


def save_with_a_transparent_colour(path: Path) -> None:
    image = picture("P")
    image.save(path, transparency=image.getpixel((0, 0)))


def floats_with(value: float) -> Image.Image:
    values = np.ones((30, 40), np.float32)
    values[3, 4] = value
    return Image.fromarray(values)


LEFT_OUT: dict[str, tuple[Callable[[Path], object], str]] = {
    "12 of 16 bits in colour": (
        lambda p: p.write_bytes(png_of_16_bits(np.full((30, 40, 3), 300))),
        "it has 16 bits a channel in colour, of which 8 would be lost; save 8 bits or grey",
    ),
    "16 bits and opaque": (
        lambda p: p.write_bytes(png_of_16_bits(np.full((30, 40, 4), 65535))),
        "it has 16 bits a channel in colour",
    ),
    "16 bits, grey and alpha": (
        lambda p: p.write_bytes(png_of_16_bits(np.full((30, 40, 2), 65535))),
        "it has 16 bits",
    ),
    "alpha": (lambda p: with_alpha("RGBA").save(p), "it has transparent pixels, whose colour nobody sees"),
    "grey and alpha": (lambda p: with_alpha("LA").save(p), "it has transparent pixels"),
    "a transparent colour": (save_with_a_transparent_colour, "it has transparent pixels"),
    "frames": (
        lambda p: picture().save(p, save_all=True, append_images=[picture("L").convert("RGB")]),
        "it holds several frames; save the one that is meant",
    ),
    "a GIF's frames": (
        lambda p: picture("P").save(p, "GIF", save_all=True, append_images=[picture("L")]),
        "it holds several frames",
    ),
    "one pixel": (lambda p: picture(width=1, height=1).save(p), "it is 1 x 1 pixels, which shows nothing"),
    "one row": (lambda p: picture(width=40, height=1).save(p), "it is 40 x 1 pixels"),
    "NaN": (lambda p: floats_with(float("nan")).save(p, "TIFF"), "it holds NaN or infinite values; replace"),
    "infinity": (lambda p: floats_with(float("inf")).save(p, "TIFF"), "it holds NaN or infinite values"),
    "a folder": (Path.mkdir, "Is a directory"),
    "a link to nowhere": (lambda p: p.symlink_to("gone.png"), "No such file"),
}


@pytest.mark.parametrize("fault", LEFT_OUT)
def test_an_image_that_would_be_read_wrongly_is_left_out_with_the_reason(fault, tmp_path):
    write, words = LEFT_OUT[fault]
    write(tmp_path / "odd.png")
    picture().save(tmp_path / "plain.png")
    batch = load_images(tmp_path, size=SIZE)
    assert batch.names == ("plain.png",)
    (finding,) = batch.findings
    assert finding.startswith("1 images could not be read and were left out (first: odd.png: ")
    assert words in finding


def test_different_reasons_are_all_said(tmp_path):
    for fault in ("alpha", "frames", "one row"):
        LEFT_OUT[fault][0](tmp_path / f"{fault}.png")
    picture().save(tmp_path / "plain.png")
    (finding,) = load_images(tmp_path, size=SIZE).findings
    assert all(LEFT_OUT[fault][1] in finding for fault in ("alpha", "frames", "one row"))


def test_an_image_of_a_frightening_size_is_left_out_like_a_broken_one(tmp_path, monkeypatch):
    picture().save(tmp_path / "plain.png")
    picture(width=100, height=100).save(tmp_path / "vast.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40 * 30)
    batch = load_images(tmp_path, size=SIZE)
    assert batch.names == ("plain.png",)
    assert "vast.png: it is too large: Image size (10000 pixels) exceeds limit" in batch.findings[0]


def pixels_of(batch: ImageBatch) -> np.ndarray:
    return (batch.pixels[0].permute(1, 2, 0) * 255).numpy()


def resized(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_image_is_turned_as_its_exif_says_and_its_mask_lies_on_it(orientation, tmp_path):
    shown = picture()
    turn_back = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = shown if orientation == 1 else shown.transpose(turn_back[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "images").mkdir()
    stored.save(tmp_path / "images" / "1.png", exif=exif)
    (tmp_path / "masks").mkdir()
    marked = np.zeros((30, 40), np.uint8)
    marked[:15, :20] = 255
    Image.fromarray(marked).save(tmp_path / "masks" / "1.png")
    batch = load_images(tmp_path, size=SIZE)
    np.testing.assert_allclose(pixels_of(batch), resized(shown), atol=1e-3)
    assert batch.masks[0, :8, :8].all()
    assert int(batch.masks.sum()) == 64
    turned = ("1 images were turned as their EXIF orientation says",) if orientation > 1 else ()
    assert batch.findings == turned


@pytest.mark.parametrize(
    ("mode", "file_format"), [("CMYK", "JPEG"), ("L", "JPEG"), ("P", "PNG"), ("1", "PNG")]
)
def test_printing_colours_and_palettes_become_the_colours_they_stand_for(mode, file_format, tmp_path):
    picture(mode).save(tmp_path / "image.png", file_format)
    with Image.open(tmp_path / "image.png") as stored:
        np.testing.assert_allclose(pixels_of(load_images(tmp_path, size=SIZE)), resized(stored), atol=1e-3)


# ------------------------------------------------------------------------------------------------------ masks
def masked(folder: Path, mask: Image.Image | bytes, *, file_format: str = "PNG") -> ImageBatch:
    """Two images, of which the first has this mask."""
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for k in range(2):
        picture("RGB" if k else "L").save(folder / "images" / f"{k}.png")
    file = folder / "masks" / "0.png"
    if isinstance(mask, bytes):
        file.write_bytes(mask)
    else:
        mask.save(file, file_format)
    return load_images(folder, size=SIZE)


def quarter(value: float, dtype: type[np.generic], shape: tuple[int, int] = (30, 40)) -> np.ndarray:
    marked = np.zeros(shape, dtype)
    marked[: shape[0] // 2, : shape[1] // 2] = value
    return marked


@pytest.mark.parametrize(("value", "dtype"), [(1, np.uint8), (1, np.uint16), (700, np.uint16), (2, np.int32)])
def test_a_mask_of_any_depth_marks_what_is_not_black(value, dtype, tmp_path):
    batch = masked(tmp_path, Image.fromarray(quarter(value, dtype)), file_format="TIFF")
    assert batch.masks[0, :8, :8].all()
    assert int(batch.masks[0].sum()) == 64
    assert batch.findings == ()


def test_a_jpeg_mask_by_another_name_is_not_taken_at_its_ringing_borders(tmp_path):
    exact, rung = (tmp_path / name for name in ("exact", "rung"))
    disc = np.hypot(*np.mgrid[-15:15, -20:20]) < 9
    image = Image.fromarray(disc.astype(np.uint8) * 255)
    batches = []
    for folder, file_format in ((exact, "PNG"), (rung, "JPEG")):
        folder.mkdir()
        batches.append(masked(folder, image, file_format=file_format))
    assert int((batches[0].masks[0] ^ batches[1].masks[0]).sum()) <= 2


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (Image.fromarray(quarter(255, np.uint8, (40, 30))), "its mask 0.png is 30 x 40, the image 40 x 30 pixels"),
        (Image.fromarray(quarter(255, np.uint8, (30, 30))), "its mask 0.png is 30 x 30, the image 40 x 30"),
        (with_alpha("RGBA"), "its mask has transparent pixels"),
        (png_of_16_bits(np.ones((30, 40, 3))), "its mask has 16 bits a channel in colour"),
    ],
    ids=["turned", "cut", "transparent", "deep"],
)  # fmt: skip
def test_an_image_whose_mask_cannot_lie_on_it_is_left_out_with_the_reason(mask, words, tmp_path):
    batch = masked(tmp_path, mask)
    assert batch.names == ("images/1.png",)
    assert words in batch.findings[0]


def test_a_mask_of_another_size_and_equal_proportions_is_stretched_and_said(tmp_path):
    batch = masked(tmp_path, Image.fromarray(quarter(255, np.uint8, (60, 80))))
    assert batch.masks[0, :8, :8].all()
    assert "1 images have a mask that was of another size and was stretched with it" in batch.findings


def test_masks_that_mark_nothing_or_everything_are_said(tmp_path):
    for name, value, words in (
        ("nothing", 0, f"marks nothing at {SIZE} x {SIZE} pixels"),
        ("everything", 9, "marks the whole image"),
    ):
        (tmp_path / name).mkdir()
        batch = masked(tmp_path / name, Image.fromarray(np.full((30, 40), value, np.uint8)))
        assert batch.findings == (f"1 images have a mask that {words}",)


# ----------------------------------------------------------------------------------------------------- batches
@pytest.mark.parametrize(
    ("classes", "labels", "words"),
    [
        (("a", "b"), [0, 2], r"labels must be numbers of the 2 classes, got \[0, 2\]"),
        (("a", "b"), [-1, 0], r"labels must be numbers of the 2 classes, got \[-1, 0\]"),
        ((), [0, 0], r"labels must be numbers of the 0 classes"),
        (("a", "a"), [0, 1], "classes must have different names"),
    ],
)
def test_labels_are_numbers_of_classes_with_different_names(classes, labels, words):
    with pytest.raises(ValueError, match=words):
        ImageBatch(
            torch.zeros(2, 3, 4, 4),
            IMAGENET,
            "here",
            ("x", "y"),
            labels=torch.tensor(labels),
            classes=classes,
        )
