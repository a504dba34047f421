"""Every image is read once, and all that is odd comes with the file's name."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.bench.data.made import paint, picture
from xaimed_bench.data.sets import open_set
from xaimed_bench.data.sets.survey import survey


def made(folder: Path) -> Path:
    for split, count in (("train", 6), ("test", 2)):
        for label in ("a", "b"):
            for k in range(count):
                paint(folder / split / label / f"{k}.png", width=90 + k, height=80)
    (folder / "test" / "a" / "empty.png").touch()
    picture(0).convert("CMYK").save(folder / "test" / "a" / "ink.jpg", exif=_turned())
    Image.new("L", (90, 80)).save(paint(folder / "masks" / "test" / "a" / "0.png"))
    Image.new("L", (91, 80), 255).save(paint(folder / "masks" / "test" / "b" / "1.png"))
    (folder / "test" / "b" / "0.txt").write_text("0 0.5 0.5 0.5 0.5")
    return folder


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_a_survey_counts_classes_sizes_and_lesions_and_names_what_is_odd(tmp_path):
    images = open_set(made(tmp_path))
    found, parallel = survey(images), survey(images, workers=2)
    assert found == parallel
    assert found.counts["training"] == {"a": 5, "b": 5}
    assert found.counts["validation"] == {"a": 1, "b": 1}
    assert found.counts["testing"] == {"a": 4, "b": 2}
    assert found.sizes == {
        (90, 80): 4,
        (91, 80): 4,
        (92, 80): 2,
        (93, 80): 2,
        (94, 80): 2,
        (95, 80): 2,
        (80, 96): 1,
    }
    assert found.lesions == 2
    ((name, why),) = found.unreadable
    assert name == "test/a/empty.png"
    assert "cannot identify" in why
    assert set(found.remarks) == {
        ("test/a/0.png", "have a mask that marks nothing at 224 x 224 pixels"),
        ("test/a/ink.jpg", "were turned as their EXIF orientation says"),
        ("test/b/1.png", "have a mask that marks the whole image"),
    }
