"""Boxes from YOLO text files: read, cut, or left out with the file's name, and drawn."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from tests.bench.data.made import paint
from xaimed_bench.data.sets import Box, open_set
from xaimed_bench.data.sets.boxes import draw


def opened(folder: Path, text: str | bytes) -> tuple[tuple[Box, ...], tuple[str, ...]]:
    """The boxes of an image with this text beside it, and the findings but for that on the split."""
    paint(folder / "1.png")
    (folder / "1.txt").write_bytes(text if isinstance(text, bytes) else text.encode())
    images = open_set(folder, validation=0)
    return images.items[0].boxes, tuple(f for f in images.findings if "no testing split" not in f)


def test_every_line_is_a_box_in_fractions_of_the_image(tmp_path):
    boxes, findings = opened(tmp_path, "2 0.5 0.25 0.5 0.25\n\n0 0.875 0.5 0.25 1\n")
    assert boxes == (Box("2", 0.25, 0.125, 0.75, 0.375), Box("0", 0.75, 0, 1, 1))
    assert findings == ()


def test_an_empty_file_means_no_lesion(tmp_path):
    assert opened(tmp_path, "") == ((), ())


def test_roundings_over_the_edge_are_no_finding(tmp_path):
    boxes, findings = opened(tmp_path, "0 0.750001 0.5 0.5 1")
    assert boxes == (Box("0", pytest.approx(0.500001), 0, 1, 1),)
    assert findings == ()


@pytest.mark.parametrize(
    ("line", "left", "words"),
    [
        ("0 1.6 0.5 0.2 0.2", (), "hold a box outside the image, which was left out"),
        ("0 320 200 80 60", (), "hold a box outside the image, which was left out"),
        ("0 0.9 0.5 0.5 0.5", (Box("0", 0.65, 0.25, 1, 0.75),), "hold a box that sticks out of the image and was cut"),
        ("0 0.5 0.5 0 0.2", (), "hold a box without an area, which was left out"),
        ("0 0.5 0.5 -0.2 0.2", (), "hold a box without an area, which was left out"),
        ("0 nan 0.5 0.2 0.2", (), "hold a box without an area, which was left out"),
        ("0 0.5 0.5 0.2", (), "hold a line that is no box (label, x, y, width, height), which was left out"),
        ("glioma here", (), "hold a line that is no box"),
        (b"\xff\xfe\x00", (), "could not be read (UnicodeDecodeError)"),
    ],
)  # fmt: skip
def test_what_is_no_box_is_left_out_or_cut_and_said(line, left, words, tmp_path):
    boxes, (finding,) = opened(tmp_path, line)
    assert boxes == left
    assert finding.startswith("1 files of boxes ")
    assert words in finding
    assert finding.endswith("(first: 1.txt)")


def test_a_good_box_beside_a_bad_one_is_kept(tmp_path):
    boxes, (finding,) = opened(tmp_path, "0 0.5 0.5 0.5 0.5\n0 7 7 1 1\n")
    assert boxes == (Box("0", 0.25, 0.25, 0.75, 0.75),)
    assert "outside the image" in finding


def test_a_pipe_by_the_name_of_boxes_is_not_waited_for(tmp_path):
    paint(tmp_path / "1.png")
    os.mkfifo(tmp_path / "1.txt")
    assert "1 files of boxes are no regular files (first: 1.txt)" in open_set(tmp_path).findings


def test_boxes_of_no_image_are_said_and_other_texts_are_not(tmp_path):
    paint(tmp_path / "1.png")
    (tmp_path / "2.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "README.txt").write_text("Boxes of tumours.\n")
    (tmp_path / "empty.txt").touch()
    images = open_set(tmp_path, validation=0)
    assert [f for f in images.findings if "boxes" in f] == ["1 files of boxes fit no image (first: 2.txt)"]


@pytest.mark.parametrize(
    ("image", "boxes"),
    [
        ("images/1.png", "labels/1.txt"),
        ("images/train/1.png", "labels/train/1.txt"),
        ("train/images/1.png", "train/labels/1.txt"),
        ("images/images/1.png", "images/labels/1.txt"),
        ("images/train/glioma/1.png", "labels/train/glioma/1.txt"),
    ],
)
def test_boxes_in_the_folder_labels_are_those_of_the_folder_images(image, boxes, tmp_path):
    paint(tmp_path / image)
    for name in (boxes, str(Path(boxes).with_name("2.txt")), "labels/other/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("3 0.5 0.25 0.5 0.25\n")
    Path(tmp_path / boxes).with_name("classes.txt").write_text("glioma\nmeningioma\n")
    images = open_set(tmp_path, validation=0)
    assert images.items[0].boxes == (Box("3", 0.25, 0.125, 0.75, 0.375),)
    stray = Path(boxes).with_name("2.txt").as_posix()
    assert [f for f in images.findings if "boxes" in f] == [f"1 files of boxes fit no image (first: {stray})"]


def test_of_boxes_in_two_places_those_beside_the_image_are_taken_and_that_is_said(tmp_path):
    paint(tmp_path / "images" / "1.png")
    (tmp_path / "labels").mkdir()
    (tmp_path / "images" / "1.txt").write_text("1 0.5 0.5 0.5 0.5\n")
    (tmp_path / "labels" / "1.txt").write_text("2 0.5 0.5 0.5 0.5\n")
    images = open_set(tmp_path, validation=0)
    assert [box.label for box in images.items[0].boxes] == ["1"]
    said = "1 files of boxes were left out, for their images have another beside them (first: labels/1.txt)"
    assert said in images.findings


def test_folders_of_images_within_class_folders_are_no_class(tmp_path):
    for k, label in enumerate(("glioma", "meningioma")):
        paint(tmp_path / "Train" / label / "images" / f"{k}.png")
        (tmp_path / "Train" / label / "labels").mkdir()
        (tmp_path / "Train" / label / "labels" / f"{k}.txt").write_text(f"{k} 0.5 0.5 0.5 0.5\n")
    images = open_set(tmp_path, validation=0)
    assert [(item.label, item.boxes[0].label) for item in images.items] == [
        ("glioma", "0"),
        ("meningioma", "1"),
    ]


# ------------------------------------------------------------------------------------------------------- drawn
def test_boxes_mark_every_pixel_that_they_touch():
    marked = draw([Box("0", 0.25, 0.5, 0.5, 0.76)], 8)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[4:7, 2:4] = True
    assert torch.equal(marked, expected)


@pytest.mark.parametrize(
    "box",
    [
        Box("0", 1 - 1e-9, 1 - 1e-9, 1, 1),
        Box("0", 0, 0, 1e-9, 1e-9),
        Box("0", 0.5, 0.5, 0.5 + 1e-9, 0.5 + 1e-9),
    ],
)
def test_the_smallest_box_marks_one_pixel(box):
    assert int(draw([box], 8).sum()) == 1


def test_several_boxes_are_joined_and_the_whole_image_is_whole():
    assert int(draw([Box("0", 0, 0, 0.5, 0.5), Box("1", 0.25, 0.25, 0.75, 0.75)], 4).sum()) == 7
    assert bool(draw([Box("0", 0, 0, 1, 1)], 5).all())
