"""Folders of real images: classes, splits, masks and every defect are found and told."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xaimed_bench.data import load_images

REAL = Path(os.environ.get("XAIMED_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))


def paint(path: Path, *, value: int = 0, size: tuple[int, int] = (40, 30), mode: str = "RGB") -> Path:
    """An image file whose content depends on its path and ``value``; ``size`` is width, height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng([value, *path.name.encode(), *path.parent.name.encode()])
    pixels = random.integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path)
    return path


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two splits of two classes, eleven images in three formats and several sizes."""
    for split, count in (("Training", 4), ("Testing", 2)):
        for label in ("glioma", "none"):
            for i in range(count - (label == "none" and split == "Testing")):
                suffix = (".jpg", ".png", ".jpeg", ".JPG")[i]
                mode = "L" if i % 2 else "RGB"
                paint(tmp_path / split / label / f"{split}{i}{suffix}", size=(40 + 7 * i, 30), mode=mode)
    return tmp_path


def test_nested_class_folders_give_labels_and_every_image_once(scans):
    batch = load_images(scans, size=32)
    assert batch.images.shape == (11, 3, 32, 32)
    assert batch.classes == ("glioma", "none")
    assert sorted(batch.labels.tolist()) == [0] * 6 + [1] * 5
    for name, label in zip(batch.names, batch.labels.tolist(), strict=True):
        assert name.split("/")[1] == batch.classes[label]
    assert len(set(batch.names)) == 11
    assert batch.findings == ()
    assert batch.masks is None
    assert batch.has_mask is None


def test_class_folders_without_splits_and_images_alone_work_too(tmp_path):
    for label in ("a", "b"):
        paint(tmp_path / "nested" / label / "1.png")
    paint(tmp_path / "flat" / "1.png")
    paint(tmp_path / "split" / "train" / "1.png")
    paint(tmp_path / "split" / "test" / "2.png")
    assert load_images(tmp_path / "nested", size=16).classes == ("a", "b")
    for folder in ("flat", "split"):
        batch = load_images(tmp_path / folder, size=16)
        assert batch.labels is None
        assert batch.classes == ()


def test_pixels_are_the_files_resized_whole_and_normalised(scans):
    batch = load_images(scans, size=32)
    for name, pixels in zip(batch.names, batch.pixels, strict=True):
        with Image.open(scans / name) as image:
            expected = np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
        np.testing.assert_allclose(pixels.permute(1, 2, 0).numpy() * 255, expected, atol=1e-3)


def test_a_count_is_spread_over_the_classes_and_depends_on_the_seed_alone(scans):
    first, again, other = (load_images(scans, count=6, size=16, seed=s) for s in (0, 0, 1))
    assert sorted(first.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert first.names == again.names
    assert torch.equal(first.images, again.images)
    assert first.names != other.names
    assert len(load_images(scans, count=100, size=16)) == 11


def test_broken_and_truncated_files_are_counted_and_replaced(scans):
    whole = (scans / "Training" / "glioma" / "Training0.jpg").read_bytes()
    (scans / "Training" / "glioma" / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (scans / "Training" / "none" / "empty.png").write_bytes(b"")
    (scans / "Testing" / "none" / "text.jpeg").write_text("not an image")
    png = paint(scans / "whole.png").read_bytes()
    (scans / "whole.png").unlink()
    (scans / "Testing" / "none" / "cut.png").write_bytes(png[: len(png) // 2])
    batch = load_images(scans, size=16)
    assert len(batch) == 11
    assert [f for f in batch.findings if "4 images could not be read and were left out (first: " in f]
    assert len(load_images(scans, count=11, size=16)) == 11, "the count is met by the readable ones"


def test_hidden_files_are_no_images(scans):
    (scans / "Training" / "none" / "._Training0.jpg").write_bytes(b"resource fork")
    assert load_images(scans, size=16).findings == ()


def test_copies_across_splits_are_reported_as_leaks(scans):
    for i in range(2):
        source = scans / "Training" / "none" / f"Training{i}{('.jpg', '.png')[i]}"
        (scans / "Testing" / "none" / f"copy{i}{source.suffix}").write_bytes(source.read_bytes())
    source = scans / "Training" / "glioma" / "Training0.jpg"
    (scans / "Training" / "none" / "wrong.jpg").write_bytes(source.read_bytes())
    assert load_images(scans, count=1, size=16).findings == (
        "11 of 14 files are distinct, the rest are byte-identical copies",
        "2 of 5 testing images are byte-identical to a training image",
        "1 identical images carry different classes",
    )


def test_images_beside_the_class_folders_are_left_out_and_counted(scans):
    paint(scans / "preview.png")
    batch = load_images(scans, size=16)
    assert len(batch) == 11
    assert batch.findings == (
        "1 images lie beside the class folders, not in one; they were left out (first: preview.png)",
    )


def test_more_than_eight_bits_are_windowed_to_the_images_own_range(tmp_path):
    ramp = np.linspace(1000, 3000, 16 * 16).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    batch = load_images(tmp_path, size=16)
    assert float(batch.pixels.min()) == 0
    assert float(batch.pixels.max()) == pytest.approx(1, abs=1e-6)
    assert batch.findings == ("1 images have more than 8 bits; each was windowed to its own range",)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_colour_mode_gives_three_channels(mode, tmp_path):
    paint(tmp_path / "image.png", mode=mode)
    with Image.open(tmp_path / "image.png") as image:
        expected = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR))
    pixels = load_images(tmp_path, size=16).pixels[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(pixels * 255, expected, atol=1e-3)


# ------------------------------------------------------------------------------------------------------ masks
def paint_mask(path: Path, *, colour: tuple[int, int, int] = (255, 255, 255)) -> None:
    """Upper left quarter marked, on 40 x 30."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((30, 40, 3), np.uint8)
    pixels[:15, :20] = colour
    Image.fromarray(pixels).save(path, **({"quality": 60} if path.suffix == ".jpg" else {}))


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("2.png", (255, 255, 255)),
        ("2_segmentation.png", (0, 0, 255)),
        ("2.jpg", (255, 255, 255)),
        ("2_mask.png", (1, 1, 1)),
    ],
)
def test_masks_are_found_by_stem_and_images_with_one_come_first(name, colour, tmp_path):
    for i in range(4):
        paint(tmp_path / "images" / f"{i}.png")
    paint_mask(tmp_path / "masks" / name, colour=colour)
    batch = load_images(tmp_path, size=20)
    assert batch.names[0] == "images/2.png"
    assert batch.has_mask.tolist() == [True, False, False, False]
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[:10, :10] = True
    assert torch.equal(batch.masks[0], expected)
    assert not batch.masks[1:].any()
    assert batch.labels is None, "one folder of images tells no classes"


def test_where_stems_repeat_the_masks_folder_names_the_class(tmp_path):
    for label in ("a", "b"):
        paint(tmp_path / label / "1.png")
    paint_mask(tmp_path / "masks" / "b" / "1.png")
    paint_mask(tmp_path / "masks" / "1_mask.png")
    batch = load_images(tmp_path, size=16)
    assert {n: bool(m) for n, m in zip(batch.names, batch.has_mask, strict=True)} == {
        "a/1.png": False,
        "b/1.png": True,
    }
    assert batch.findings == (
        "1 masks fit no image, or several, and were left out (first: masks/1_mask.png)",
    )


def test_a_broken_mask_leaves_its_image_out(tmp_path):
    for i in range(2):
        paint(tmp_path / "images" / f"{i}.png")
        paint_mask(tmp_path / "masks" / f"{i}.png")
    (tmp_path / "masks" / "1.png").write_bytes(b"\x89PNG")
    batch = load_images(tmp_path, size=16)
    assert batch.names == ("images/0.png",)
    assert "1 images could not be read" in batch.findings[0]


def test_classes_come_from_ham10000s_table_where_there_are_no_class_folders(tmp_path):
    for i in range(3):
        paint(tmp_path / "HAM10000_images" / f"ISIC_{i}.jpg")
    (tmp_path / "HAM10000_metadata.csv").write_text("lesion_id,image_id,dx\nL0,ISIC_0,nv\nL1,ISIC_1,mel\n")
    batch = load_images(tmp_path, size=16)
    assert batch.classes == ("mel", "nv")
    assert {n: batch.classes[k] for n, k in zip(batch.names, batch.labels.tolist(), strict=True)} == {
        "HAM10000_images/ISIC_0.jpg": "nv",
        "HAM10000_images/ISIC_1.jpg": "mel",
    }
    assert batch.findings == (
        "1 images have no row in HAM10000_metadata.csv; they were left out (first: HAM10000_images/ISIC_2.jpg)",
    )


# ----------------------------------------------------------------------------------------------------- errors
def test_missing_empty_and_unreadable_folders_are_refused_with_what_to_give(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no folder at .*gone; give a folder that holds images"):
        load_images(tmp_path / "gone")
    file = paint(tmp_path / "one.png")
    with pytest.raises(NotADirectoryError, match=r"one.png is a file; give the folder that holds it"):
        load_images(file)
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("nothing")
    with pytest.raises(ValueError, match=r"no image in .*empty: looked for .jpeg, .jpg, .png"):
        load_images(tmp_path / "empty")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 1 images in .*broken could be read: 1 images"):
        load_images(tmp_path / "broken")
    for count, size in ((0, 16), (1, 0)):
        with pytest.raises(ValueError, match="give"):
            load_images(tmp_path, count=count, size=size)


# ----------------------------------------------------------------------------------------------- side effects
def test_progress_goes_to_stderr_and_only_when_asked_or_on_a_terminal(scans, capfd):
    load_images(scans, size=16)
    assert capfd.readouterr() == ("", "")
    load_images(scans, size=16, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "reading image 1 of 11: " in err


def test_importing_the_data_package_and_painting_phantoms_loads_no_image_library():
    code = (
        "import sys; from xaimed_bench.data import phantoms; phantoms('mri', 1, size=16); "
        "print([m for m in ('PIL', 'torchvision', 'rich', 'scipy', 'matplotlib', 'cv2') if m in sys.modules])"
    )
    paths = os.pathsep.join(p for p in sys.path if p)
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == "[]"


def test_no_file_handle_stays_open(scans, monkeypatch):
    opened: list[io.IOBase] = []
    plain_open = Image.open

    def watching(path: Path) -> Image.Image:
        image = plain_open(path)
        opened.append(image.fp)
        return image

    monkeypatch.setattr(Image, "open", watching)
    load_images(scans, size=16)
    assert len(opened) == 11
    assert all(handle.closed for handle in opened)


# -------------------------------------------------------------------------------------------------- real sets
@pytest.mark.skipif(not (REAL / "brain-tumor-mri").is_dir(), reason="brain-tumor-mri is not on this machine")
def test_the_papers_brain_set_is_read_and_its_leak_reported():
    batch = load_images(REAL / "brain-tumor-mri", count=8, size=64)
    assert batch.classes == ("glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor")
    assert batch.labels.bincount().tolist() == [2, 2, 2, 2]
    assert batch.findings == (
        "3,027 of 3,264 files are distinct, the rest are byte-identical copies",
        "88 of 394 testing images are byte-identical to a training image",
    )


@pytest.mark.skipif(not (REAL / "skin-ham10000").is_dir(), reason="skin-ham10000 is not on this machine")
def test_the_skin_set_has_seven_classes_and_41_masks():
    batch = load_images(REAL / "skin-ham10000", count=92, size=32)
    assert len(batch) == 92
    assert len(batch.classes) == 7
    assert int(batch.has_mask.sum()) == 41
    assert batch.masks.flatten(1).any(1).sum() == 41
