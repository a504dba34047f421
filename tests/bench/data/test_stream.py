"""Batches from files: the same for any number of workers, flat in memory, and never ended by a bad file."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.bench.data.made import paint, picture
from xaimed_bench.data import IMAGENET, Normalisation, load_images
from xaimed_bench.data.sets import Box, ImageSet, Item, open_set
from xaimed_bench.data.stream import Batch, Unreadable, stream

SIZE = 16


def fail(unreadable: Unreadable) -> None:
    raise AssertionError(unreadable)


@pytest.fixture
def scans(tmp_path: Path) -> ImageSet:
    for label in ("a", "b"):
        for k in range(6):
            paint(tmp_path / label / f"{k}.png", width=40 + 9 * k)
    return open_set(tmp_path, validation=0)


def read(images: ImageSet, **how) -> list[Batch]:
    return list(stream(images.items, images.classes, size=SIZE, on_unreadable=fail, **how))


def test_a_stream_gives_what_load_images_gives(scans):
    batches = read(scans, batch=5)
    assert [len(batch.names) for batch in batches] == [5, 5, 2]
    loaded = load_images(scans.folder, size=SIZE)
    rows = {name: k for k, name in enumerate(loaded.names)}
    assert sum((batch.names for batch in batches), ()) == tuple(item.name for item in scans.items)
    assert torch.cat([batch.index for batch in batches]).tolist() == list(range(12))
    for batch in batches:
        order = [rows[name] for name in batch.names]
        assert torch.equal(batch.images, loaded.images[order])
        assert torch.equal(batch.labels, loaded.labels[order])


@pytest.mark.parametrize("workers", [1, 3])
def test_values_and_order_do_not_depend_on_the_workers(workers, scans):
    (scans.folder / "a" / "2.png").write_bytes(b"")
    order = [7, 0, 3, 3, 11, 2, 5]
    results = []
    for count in (0, workers):
        bad: list[Unreadable] = []
        batches = list(
            stream(
                scans.items,
                scans.classes,
                size=SIZE,
                batch=3,
                workers=count,
                order=order,
                on_unreadable=bad.append,
            )
        )
        results.append((batches, bad))
    (plain, bad), (parallel, bad_too) = results
    assert bad == bad_too
    assert [name for name, _ in bad] == ["a/2.png"]
    assert [batch.index.tolist() for batch in plain] == [[7, 0, 3], [3, 11], [5]]
    for one, other in zip(plain, parallel, strict=True):
        assert one.names == other.names
        for field in ("index", "images", "labels", "lesion", "has_lesion"):
            assert torch.equal(getattr(one, field), getattr(other, field))


def test_normalisation_and_class_numbers_are_the_callers(scans):
    plain = Normalisation(mean=(0, 0, 0), std=(1, 1, 1))
    (batch,) = stream(scans.items, ("z", "b"), size=SIZE, normalisation=plain, on_unreadable=fail)
    assert batch.labels.tolist() == [-1] * 6 + [1] * 6
    assert float(batch.images.min()) >= 0
    (usual,) = read(scans)
    torch.testing.assert_close(IMAGENET.apply(batch.images), usual.images)


@pytest.mark.parametrize(
    "how", [{"size": 0}, {"batch": 0}, {"workers": -1}, {"order": [12]}, {"order": [-1]}], ids=str
)
def test_what_cannot_be_streamed_is_refused_before_anything_is_read(how, scans):
    with pytest.raises(ValueError, match=r"give 1 or more|order must hold numbers of items, 0 to 11"):
        stream(scans.items, scans.classes, on_unreadable=fail, **how)


def test_no_items_give_no_batches():
    assert list(stream([], (), on_unreadable=fail)) == []


def test_no_random_generator_is_touched(scans):
    torch.manual_seed(3)
    expected = torch.rand(2)
    for workers in (0, 2):
        torch.manual_seed(3)
        read(scans, workers=workers)
        assert torch.equal(torch.rand(2), expected)


# ------------------------------------------------------------------------------------------------------ memory
def bytes_alive() -> int:
    return sum(t.numel() * t.element_size() for t in gc.get_objects() if type(t) is torch.Tensor)


@pytest.mark.parametrize("workers", [0, 2])
def test_memory_is_flat_in_the_number_of_images(workers, tmp_path):
    """Counts what lives at every tenth batch: no more at the end of 160 images than at the end of 40."""
    item = Item(paint(tmp_path / "1.png"), "1.png", None, "testing")
    before = bytes_alive()
    most: dict[int, int] = {}
    for count in (40, 160):
        batches = stream([item] * count, (), size=64, batch=4, workers=workers, on_unreadable=fail)
        most[count] = max(bytes_alive() - before for k, _ in enumerate(batches) if k % 10 == 9)
    assert most[40] > 4 * 3 * 64 * 64
    ahead = 2 * 4 * 4 * 64 * 64 * (workers > 0)  # two batches that workers may just have brought
    assert most[160] <= most[40] + ahead


def test_no_file_is_read_long_before_its_batch(tmp_path):
    items = [Item(paint(tmp_path / f"{k}.png"), f"{k}.png", None, "testing") for k in range(60)]
    batches = stream(items, (), size=SIZE, batch=2, workers=2, on_unreadable=fail)
    next(batches)
    for item in items[20:]:
        item.path.unlink()
    with pytest.raises(AssertionError, match="No such file"):
        list(batches)


# ----------------------------------------------------------------------------------------------------- lesions
def marked(width: int = 96, height: int = 80, value: int = 255) -> Image.Image:
    pixels = np.zeros((height, width), np.uint8)
    pixels[: height // 2, : width // 2] = value
    return Image.fromarray(pixels)


@pytest.fixture
def lesions(tmp_path: Path) -> ImageSet:
    """A mask, a coloured mask, boxes, both, none, an empty mask."""
    for name in ("mask", "colour", "boxes", "both", "none", "empty"):
        paint(tmp_path / "images" / f"{name}.png")
    (tmp_path / "masks").mkdir()
    marked().save(tmp_path / "masks" / "mask.png")
    Image.merge("RGB", [marked(value=0), marked(value=0), marked(value=7)]).save(
        tmp_path / "masks" / "colour.png"
    )
    marked().save(tmp_path / "masks" / "both.png")
    marked(value=0).save(tmp_path / "masks" / "empty.png")
    for name in ("boxes", "both"):
        (tmp_path / "images" / f"{name}.txt").write_text("1 0.75 0.75 0.5 0.5\n")
    return open_set(tmp_path)


def test_a_lesion_is_its_mask_else_its_boxes(lesions):
    remarks: list[Unreadable] = []
    (batch,) = stream(lesions.items, (), size=SIZE, on_unreadable=fail, on_remark=remarks.append)
    known = {name[7:-4]: k for k, name in enumerate(batch.names)}
    assert {name for name, k in known.items() if batch.has_lesion[k]} == {"mask", "colour", "boxes", "both"}
    upper_left, lower_right = torch.zeros(2, SIZE, SIZE, dtype=torch.bool)
    upper_left[:8, :8] = lower_right[8:, 8:] = True
    for name in ("mask", "colour", "both"):
        assert torch.equal(batch.lesion[known[name]], upper_left)
    assert torch.equal(batch.lesion[known["boxes"]], lower_right)
    assert not batch.lesion[known["none"]].any()
    assert not batch.lesion[known["empty"]].any()
    assert remarks == [("images/empty.png", f"have a mask that marks nothing at {SIZE} x {SIZE} pixels")]


# --------------------------------------------------------------------------------------------------- bad files
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty": (Path.touch, "cannot identify image file"),
    "cut": (lambda p: p.write_bytes(paint(p).read_bytes()[:900]), "truncated"),
    "text": (lambda p: p.write_text("not an image"), "cannot identify image file"),
    "frames": (
        lambda p: picture(0).save(p, save_all=True, append_images=[picture(1)]),
        "it holds several frames",
    ),
    "alpha": (lambda p: Image.new("RGBA", (30, 30), (9, 9, 9, 3)).save(p), "it has transparent pixels"),
    "bomb": (
        lambda p: picture(0, width=150, height=100).save(p),
        "it is too large: Image size (15000 pixels)",
    ),
    "great bomb": (lambda p: picture(0, width=300, height=100).save(p), "it is too large: Image size (30000"),
    "folder": (Path.mkdir, "Is a directory"),
    "pipe": (os.mkfifo, "it is no regular file"),
    "link to nowhere": (lambda p: p.symlink_to("gone.png"), "No such file"),
    "link to itself": (lambda p: p.symlink_to(p.name), "Too many levels of symbolic links"),
    "pipe as a mask": (
        lambda p: (paint(p), p.parent.joinpath("masks").mkdir(), os.mkfifo(p.parent / "masks" / p.name)),
        "its mask is no regular file",
    ),
    "another mask": (
        lambda p: (paint(p), marked(80, 96).save(paint(p.parent / "masks" / p.name))),
        "its mask bad.png is 80 x 96, the image 96 x 80 pixels",
    ),
}


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fault", BAD)
def test_a_bad_file_is_named_and_the_stream_goes_on(fault, workers, tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 12_000)
    write, words = BAD[fault]
    write(tmp_path / "bad.png")
    for k in range(3):
        paint(tmp_path / f"{k}.png")
    images = open_set(tmp_path)
    bad: list[Unreadable] = []
    batches = list(stream(images.items, (), size=SIZE, batch=2, workers=workers, on_unreadable=bad.append))
    assert [name for batch in batches for name in batch.names] == ["0.png", "1.png", "2.png"]
    assert [name for name, _ in bad] == ["bad.png"]
    assert words in bad[0].why


def test_a_file_that_must_not_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    paint(tmp_path / "1.png")
    monkeypatch.setattr(Image, "open", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    images = open_set(tmp_path)
    bad: list[Unreadable] = []
    assert list(stream(images.items, (), on_unreadable=bad.append)) == []
    assert "Permission denied" in bad[0].why


def test_a_batch_of_bad_files_alone_is_passed_over(tmp_path):
    for k in range(4):
        (tmp_path / f"{k}.png").touch()
    paint(tmp_path / "4.png")
    bad: list[Unreadable] = []
    batches = list(stream(open_set(tmp_path).items, (), size=SIZE, batch=2, on_unreadable=bad.append))
    assert [batch.names for batch in batches] == [("4.png",)]
    assert len(bad) == 4


ODD: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "one channel": (lambda p: picture(0).convert("L").save(p), None),
    "one bit": (lambda p: picture(0).convert("1").save(p), None),
    "palette": (lambda p: picture(0).convert("P").save(p), None),
    "CMYK": (lambda p: picture(0).convert("CMYK").save(p, "JPEG"), None),
    "16 bits": (
        lambda p: Image.fromarray(np.arange(3000, dtype=np.uint16).reshape(50, 60)).save(p),
        "have more than 8 bits; each was windowed to its own range",
    ),
    "EXIF": (lambda p: picture(0).save(p, exif=turned()), "were turned as their EXIF orientation says"),
    "damaged EXIF": (
        lambda p: picture(0).save(p, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x01"),
        "raise a warning of PIL: Corrupt EXIF data",
    ),
}


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_image_is_read_and_said_where_it_matters(kind, tmp_path):
    write, words = ODD[kind]
    write(tmp_path / "1.png")
    remarks: list[Unreadable] = []
    (batch,) = stream(open_set(tmp_path).items, (), size=SIZE, on_unreadable=fail, on_remark=remarks.append)
    assert batch.images.shape == (1, 3, SIZE, SIZE)
    assert float(batch.images.std()) > 0
    assert [name for name, _ in remarks] == ["1.png"] * (words is not None)
    assert all(why.startswith(words or "") for _, why in remarks)


def test_boxes_lie_on_the_image_as_exif_turns_it(tmp_path):
    shown = Image.new("RGB", (40, 40))
    shown.paste((255, 255, 255), (20, 0, 40, 20))
    shown.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "1.png", exif=turned())
    (tmp_path / "1.txt").write_text("0 0.75 0.25 0.5 0.5")
    (item,) = open_set(tmp_path).items
    assert item.boxes == (Box("0", 0.5, 0, 1, 0.5),)
    (batch,) = stream([item], (), size=40, on_unreadable=fail)
    assert torch.equal(batch.lesion[0], batch.images[0, 0] > batch.images[0, 0].mean())
