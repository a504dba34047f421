"""Where the lesion is known: what is located, and the threshold that its IoU is taken at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.bench.study.evaluate.conftest import evaluate, rows
from xaimed_reports.study.evaluation import load


@pytest.fixture
def marked(scans) -> Path:
    """Six images with masks: right ones, an empty one, one of another size."""
    for k in range(6):
        picture = Image.open(scans / "Training" / ("dark", "light")[k % 2] / f"{k}.png")
        mask = np.zeros((40, 40), np.uint8)
        mask[8:20, 10:26] = 255 * (k != 3)
        for folder, image in (("images", picture), ("masks", Image.fromarray(mask))):
            path = scans.parent / "marked" / folder / f"{k}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            image.save(path)
    Image.fromarray(np.full((9, 30), 255, np.uint8)).save(scans.parent / "marked/masks/5.png")
    return scans.parent / "marked"


def test_lesions_are_located_where_they_are_known(marked, scans, checkpoint, capsys) -> None:
    options = ("--checkpoint", checkpoint, "--split", "all")
    assert evaluate("out", *options, data="marked") == 0
    said = capsys.readouterr().out
    assert "images/3.png: " in said
    located = {image for image, _, method, metric in rows("out") if (method, metric) == ("xgradcam", "mass")}
    assert {"images/0.png", "images/1.png", "images/2.png", "images/4.png"} <= located
    assert "images/3.png" not in located
    masses = [
        v for (_, _, method, metric), v in rows("out").items() if (method, metric) == ("random", "mass")
    ]
    assert np.mean(masses) == pytest.approx(12 * 16 / 1600, abs=0.03)


def box(image: str, line: str = "0 0.5 0.5 0.4 0.4") -> None:
    Path("scans", image).with_suffix(".txt").write_text(line)


def test_the_threshold_of_iou_is_the_best_on_validation(scans) -> None:
    from xaimed_bench.data.sets import open_set
    from xaimed_bench.data.stream import stream
    from xaimed_bench.networks import open_network
    from xaimed_core import explain
    from xaimed_core.localisation import best_threshold, evaluate_localisation

    images = open_set("scans")
    for item in (*images.split("validation"), *images.split("testing")):
        box(item.name)
    metrics = ("--metrics", "iou")
    assert evaluate("out", *metrics) == 0
    assert evaluate("fixed", *metrics, "--threshold", "0.3") == 0
    images = open_set("scans")
    model = open_network("fewnets:plain", classes=images.classes).model

    def explained(split, batch):
        read = stream(images.split(split), images.classes, size=32, batch=batch, on_unreadable=print)
        for part in read:
            yield part, explain(model, part.images, "xgradcam", "2")

    ((validation, e),) = explained("validation", 99)
    best = best_threshold(e, validation.lesion)
    for out, threshold in (("out", best), ("fixed", 0.3)):
        stored = rows(out)
        for part, e in explained("testing", 2):
            expected = evaluate_localisation(e, part.lesion, metrics="iou", threshold=threshold)[
                "iou"
            ].tolist()
            got = [stored[name, "2", "xgradcam", "iou"] for name in part.names]
            assert got == pytest.approx(expected, abs=1e-6)
    about = json.loads(Path("out/thresholds.json").read_text())
    assert about["images"] == len(images.split("validation"))
    assert load(Path("out/summary.json")).threshold == (
        f"for each layer and method the best on {about['images']} validation images"
    )
    assert load(Path("fixed/summary.json")).threshold == "0.3"


def test_a_box_outside_its_image_is_no_lesion(scans, capsys) -> None:
    box("Testing/dark/new0.png")
    box("Testing/dark/new2.png", "0 1.5 1.5 0.2 0.2")
    assert evaluate("out", "--metrics", "mass", "--limit", "4") == 0
    located = {image for image, *_, metric in rows("out") if metric == "mass"}
    assert located == {"Testing/dark/new0.png"}
