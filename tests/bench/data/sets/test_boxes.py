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
