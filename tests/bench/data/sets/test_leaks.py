"""What training holds, too, is found by bytes, by lesion and by looks, and left out when asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.bench.data.made import copy, paint, picture, save_again
from xaimed_bench.data.sets import Leaking, open_set
from xaimed_bench.data.sets.copies import alike, connected, perceptual_hashes


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    """Of 6 images to test on, one has the bytes of one to train on, and two its looks."""
    for k in range(12):
        paint(tmp_path / "train" / "ab"[k % 2] / f"{k}.png")
    for k in range(3):
        paint(tmp_path / "test" / "ab"[k % 2] / f"new{k}.png")
    copy(tmp_path / "train" / "a" / "0.png", tmp_path / "test" / "a" / "bytes.png")
    save_again(tmp_path / "train" / "b" / "1.png", tmp_path / "test" / "b" / "look.jpg")
    save_again(tmp_path / "train" / "b" / "3.png", tmp_path / "test" / "a" / "wrong.jpg", quality=95)
    return tmp_path


LEAKS = {
    Leaking("test/a/bytes.png", "bytes", "train/a/0.png"),
    Leaking("test/b/look.jpg", "near", "train/b/1.png"),
    Leaking("test/a/wrong.jpg", "near", "train/b/3.png"),
}


@pytest.mark.parametrize(
    ("drop", "left"),
    [(False, 6), (True, 5), ("bytes", 5), ("near", 3)],
    ids=["none", "true", "bytes", "near"],
)
def test_leaks_are_found_and_left_out_as_asked(drop, left, leaking):
    images = open_set(leaking, drop_leaks=drop)
    assert len(images.split("testing")) == left
    assert set(images.leaks) == LEAKS
    assert len(images.split("training") + images.split("validation")) == 12
    assert (
        "1 testing images were left out: they are byte-identical to an image of training" in images.findings
    ) == (drop is not False)


def test_the_findings_name_what_leaks_and_what_cannot_be_right(leaking):
    findings = open_set(leaking).findings
    assert "1 of 6 testing images are byte-identical to a training image" in findings
    assert (
        "2 of 6 testing images look the same as an image of training, with other bytes "
        "(first: test/a/wrong.jpg of train/b/3.png, test/b/look.jpg of train/b/1.png)"
    ) in findings
    assert (
        "1 pairs look the same and carry different classes (first: test/a/wrong.jpg and train/b/3.png)"
    ) in findings


def test_leaving_leaks_out_moves_nothing_between_training_and_validation(leaking):
    whole, rest = (open_set(leaking, drop_leaks=drop) for drop in (False, "near"))
    assert whole.split("training") == rest.split("training")
    assert whole.split("validation") == rest.split("validation")
    assert whole.digest != rest.digest


def test_a_lesion_in_two_splits_is_a_leak(tmp_path):
    for k, split in enumerate(("train", "train", "train", "test", "test")):
        paint(tmp_path / split / f"{k}.png")
    (tmp_path / "table.csv").write_text("lesion_id,image_id,dx\nL0,0,a\nL1,1,b\nL2,2,a\nL1,3,b\nL4,4,a\n")
    assert open_set(tmp_path).leaks == (Leaking("test/3.png", "group", "train/1.png"),)
    dropped = open_set(tmp_path, drop_leaks=True)
    assert [item.name for item in dropped.split("testing")] == ["test/4.png"]
    assert "1 testing images were left out: they are of a lesion of training" in dropped.findings


def test_what_is_validated_on_leaks_into_testing_too(tmp_path):
    paint(tmp_path / "train" / "0.png")
    first = paint(tmp_path / "val" / "1.png")
    copy(first, tmp_path / "test" / "1.png")
    assert open_set(tmp_path).leaks == (Leaking("test/1.png", "bytes", "val/1.png"),)


def test_a_test_set_of_which_nothing_is_left_is_not_made_anew(tmp_path):
    for k in range(10):
        first = paint(tmp_path / "train" / f"{k}.png")
    copy(first, tmp_path / "test" / "9.png")
    assert open_set(tmp_path, drop_leaks=True).split("testing") == ()


# ------------------------------------------------------------------------------------------------------ looks
def test_pictures_saved_or_scaled_anew_look_the_same_and_others_do_not(tmp_path):
    first = paint(tmp_path / "0.png", 0, width=300, height=260)
    save_again(first, tmp_path / "1.jpg", quality=60)
    picture(0, width=300, height=260).resize((150, 130)).save(tmp_path / "2.png")
    picture(0, width=300, height=260).convert("L").save(tmp_path / "3.png")
    paint(tmp_path / "4.png", 1)
    picture(0, width=300, height=260).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "5.png")
    (tmp_path / "6.png").write_bytes(b"")
    hashes = perceptual_hashes([tmp_path / name for name in sorted(p.name for p in tmp_path.iterdir())])
    assert hashes[6] is None
    assert alike(hashes) == [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]


def test_pairs_are_found_across_blocks(monkeypatch, tmp_path):
    monkeypatch.setattr("xaimed_bench.data.sets.copies._BLOCK", 3)
    paths = [paint(tmp_path / f"{k}.png", k % 5) for k in range(10)]
    assert alike(perceptual_hashes(paths)) == [(k, k + 5) for k in range(5)]


def test_groups_hold_whatever_pairs_connect():
    assert connected(6, [(0, 3), (3, 5), (1, 2)]) == [[0, 3, 5], [1, 2], [4]]
    assert connected(2, []) == [[0], [1]]
    assert connected(0, []) == []
