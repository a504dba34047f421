"""A folder opened as a set: every image has a split, no group is divided, and the digest names what was opened."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from tests.bench.data.made import copy, paint, save_again
from xaimed_bench.data.sets import ImageSet, Item, open_set


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    """Two splits of two classes: 2 x 20 to train on, 2 x 5 to test on."""
    for split, count in (("Training", 20), ("Testing", 5)):
        for label in ("glioma", "none"):
            for k in range(count):
                paint(tmp_path / split / label / f"{k}.png")
    return tmp_path


def splits(images: ImageSet) -> dict[str, int]:
    return dict(Counter(item.split for item in images.items))


def test_a_folders_own_splits_hold_and_validation_is_carved_from_training_by_class(scans):
    images = open_set(scans)
    assert images.classes == ("glioma", "none")
    assert splits(images) == {"training": 34, "validation": 6, "testing": 10}
    assert all(item.name.startswith("Testing/") for item in images.split("testing"))
    assert Counter(item.label for item in images.split("validation")) == {"glioma": 3, "none": 3}
    assert [item.name for item in images.items] == sorted(item.name for item in images.items)
    assert images.findings == ()


def test_a_folders_own_validation_is_kept(scans):
    paint(scans / "val" / "glioma" / "0.png")
    paint(scans / "val" / "none" / "0.png")
    assert splits(open_set(scans)) == {"training": 40, "validation": 2, "testing": 10}


def test_validation_can_be_left_out_and_a_share_that_is_none_is_refused(scans):
    assert splits(open_set(scans, validation=0)) == {"training": 40, "testing": 10}
    for share in (1.0, -0.1):
        with pytest.raises(ValueError, match="share of the training images, from 0 to below 1; got"):
            open_set(scans, validation=share)


def test_class_folders_without_a_split_get_a_seeded_stratified_one(tmp_path):
    for label, count in (("a", 40), ("b", 20)):
        for k in range(count):
            paint(tmp_path / label / f"{k}.png")
    first, again, other = (open_set(tmp_path, seed=seed) for seed in (0, 0, 1))
    counts = Counter((item.split, item.label) for item in first.items)
    assert counts["testing", "a"] == 8
    assert counts["testing", "b"] == 4
    assert counts["validation", "a"] == 5
    assert counts["validation", "b"] == 2
    assert first == again
    assert first.split("testing") != other.split("testing")
    assert first.findings == ("the folder has no testing split: 12 of 60 images were taken for it (seed 0)",)


def test_images_that_come_later_move_few_of_those_that_were_there(tmp_path):
    for k in range(60):
        paint(tmp_path / f"{k}.png")
    before = {item.name: item.split for item in open_set(tmp_path, validation=0).items}
    for k in range(60, 63):
        paint(tmp_path / f"{k}.png")
    after = {item.name: item.split for item in open_set(tmp_path, validation=0).items}
    assert sum(after[name] != split for name, split in before.items()) <= 3


# ----------------------------------------------------------------------------------------------------- groups
def by_group(items: tuple[Item, ...]) -> dict[str | None, set[str]]:
    found: dict[str | None, set[str]] = {}
    for item in items:
        found.setdefault(item.group, set()).add(item.split)
    return found


def test_no_lesion_of_ham10000_is_divided(tmp_path):
    rows = ["lesion_id,image_id,dx"]
    for k in range(60):
        paint(tmp_path / "HAM10000_images" / f"ISIC_{k}.jpg")
        rows.append(f"HAM_{k // 3},ISIC_{k},{'nv' if k < 36 else 'mel'}")
    (tmp_path / "HAM10000_metadata.csv").write_text("\n".join(rows))
    images = open_set(tmp_path)
    assert set(splits(images)) == {"training", "validation", "testing"}
    assert len(by_group(images.items)) == 20
    assert all(len(sides) == 1 for sides in by_group(images.items).values())
    for split in ("validation", "testing"):
        assert {item.label for item in images.split(split)} == {"mel", "nv"}


def test_no_patient_of_the_chest_set_is_divided_and_repeated_numbers_are_said(tmp_path):
    for k in range(24):
        paint(tmp_path / "train" / "PNEUMONIA" / f"person{k // 3}_virus_{k}.jpeg")
        paint(tmp_path / "train" / "NORMAL" / f"IM-000{k // 3}-000{k % 3}.jpeg")
    paint(tmp_path / "test" / "PNEUMONIA" / "person1_bacteria_7.jpeg")
    paint(tmp_path / "test" / "NORMAL" / "NORMAL2-IM-0300-0001.jpeg")
    images = open_set(tmp_path)
    assert splits(images)["validation"] == 6
    assert all(len(sides) == 1 for sides in by_group(images.items).values())
    assert images.leaks == ()
    assert images.findings == (
        "1 of 2 numbers of patients in testing are in training, too; each split may number its own, "
        "and so they were not taken for leaks",
    )


def test_images_of_the_same_bytes_or_looks_stay_on_one_side(tmp_path):
    for k in range(10):
        first = paint(tmp_path / f"{k}.png")
        copy(first, tmp_path / f"{k}-copy.png")
        save_again(first, tmp_path / f"{k}-again.jpg")
    images = open_set(tmp_path, seed=3)
    sides: dict[str, set[str]] = {}
    for item in images.items:
        sides.setdefault(Path(item.name).stem.partition("-")[0], set()).add(item.split)
    assert set().union(*sides.values()) == {"training", "validation", "testing"}
    assert all(len(split) == 1 for split in sides.values())


def test_a_class_whose_images_all_look_alike_is_shared_all_the_same_and_said(tmp_path):
    for k in range(10):
        Image.new("RGB", (30, 30), (k, 0, 0)).save(tmp_path / f"{k}.png")
    images = open_set(tmp_path)
    assert splits(images) == {"training": 7, "validation": 1, "testing": 2}
    assert "all 10 training images of the folder look the same or are of one group" in images.findings


def test_a_class_of_one_image_is_trained_on_and_said(tmp_path):
    for k in range(6):
        paint(tmp_path / "a" / f"{k}.png")
    paint(tmp_path / "rare" / "0.png")
    images = open_set(tmp_path)
    assert [item.split for item in images.items if item.label == "rare"] == ["training"]
    for split in ("testing", "validation"):
        assert f"no {split} image is of the class rare, which has too few to share" in images.findings


# ----------------------------------------------------------------------------------------------------- digest
def test_the_digest_tells_sets_apart_and_does_not_depend_on_the_place(scans, tmp_path_factory):
    plain = open_set(scans)
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    for item in plain.items:
        copy(item.path, moved / item.name)
    assert open_set(moved).digest == plain.digest
    assert open_set(scans, seed=1).digest != plain.digest
    paint(scans / "Training" / "none" / "3.png", seed=1)
    assert open_set(scans).digest != plain.digest


def test_the_digest_holds_masks_and_boxes(tmp_path):
    for k in range(2):
        paint(tmp_path / "images" / f"{k}.png")
    digests = [open_set(tmp_path).digest]
    Image.new("L", (96, 80), 255).save(paint(tmp_path / "masks" / "0.png"))
    digests.append(open_set(tmp_path).digest)
    Image.new("L", (96, 80), 9).save(tmp_path / "masks" / "0.png")
    digests.append(open_set(tmp_path).digest)
    (tmp_path / "images" / "1.txt").write_text("0 0.5 0.5 0.2 0.2")
    digests.append(open_set(tmp_path).digest)
    assert len(set(digests)) == 4


# -------------------------------------------------------------------------------------------------- bad folders
def test_folders_that_cannot_be_looked_through_are_said(scans):
    (scans / "Training" / "meningioma").mkdir()
    (scans / "Training" / "loop").symlink_to(scans, target_is_directory=True)
    paint(scans / "extra.png")
    assert open_set(scans).findings == (
        "1 links to folders were not followed (first: Training/loop)",
        "1 folders are empty (first: Training/meningioma)",
        "1 images lie beside the class folders, not in one; they were left out (first: extra.png)",
    )


def test_images_in_no_splits_folder_are_trained_on_and_said(scans):
    paint(scans / "glioma" / "extra.png")
    images = open_set(scans)
    assert next(item for item in images.items if "extra" in item.name).split in ("training", "validation")
    assert images.findings == (
        "1 images lie in no split's folder, others do; they were taken for training (first: glioma/extra.png)",
    )


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder at"):
        open_set(tmp_path / "gone")
    with pytest.raises(ValueError, match="no image in"):
        open_set(tmp_path)


def test_files_that_cannot_be_read_stay_for_the_stream_to_name(scans):
    for name, content in (("empty.png", b""), ("text.png", b"no image")):
        (scans / "Testing" / "none" / name).write_bytes(content)
    (scans / "Testing" / "none" / "loop.png").symlink_to("loop.png")
    assert splits(open_set(scans))["testing"] == 13
