"""`xaimed evaluate` on small images: rows, values, refusals and the report."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.bench.study.evaluate.conftest import evaluate, rows
from xaimed_bench.study.evaluate import run as running
from xaimed_bench.study.evaluate.shards import read
from xaimed_reports.study.evaluation import load


def test_every_image_has_every_method_and_metric_and_the_summary_is_their_mean(scans) -> None:
    assert evaluate("out") == 0
    found = rows("out")
    images = {image for image, *_ in found}
    assert len(images) == 12
    methods = {(layer, method) for _, layer, method, _ in found}
    assert methods == {
        ("2", "xgradcam"), ("2", "ablationcam"), ("2", "eigengradcam"), ("2", "eigengradcam, other sign"),
        ("2", "xgradcam, blurred"), ("", "random"), ("", "centre-Gaussian"), ("", "edges"), ("", "network"),
    }  # fmt: skip
    e = load(Path("out/summary.json"))
    cell = e.cell("2", "xgradcam", "road")
    assert cell is not None
    values = [found[image, "2", "xgradcam", "road"] for image in images]
    assert cell.mean == pytest.approx(np.mean(values))
    assert cell.low < cell.mean < cell.high
    right = [found[image, "", "network", "correct"] for image in images]
    assert [a.images for a in e.accuracy] == [12, 11, 11]
    assert e.accuracy[0].value == pytest.approx(np.mean(right))
    for parts in [(found[i, "2", "xgradcam", m] for m in ("road", "road-lerf", "road-morf")) for i in images]:
        combined, lerf, morf = parts
        assert combined == pytest.approx((lerf - morf) / 2, abs=1e-6)


@pytest.mark.filterwarnings("ignore:xgradcam and refinecam divide by")
def test_several_layers_together_are_one_place_for_every_method(scans) -> None:
    assert evaluate("out", "--layer", "1,2", "--methods", "xgradcam,refinecam", "--limit", "4") == 0
    methods = {(layer, method) for _, layer, method, _ in rows("out") if "," not in method}
    assert {pair for pair in methods if pair[0]} == {
        ("2", "xgradcam"),
        ("1,2", "xgradcam"),
        ("1,2", "refinecam"),
    }


def test_values_are_those_of_the_library(scans) -> None:
    """One image's ROAD, made again by `road` from the same seed."""
    import torch

    from xaimed_bench.data.sets import open_set
    from xaimed_bench.data.stream import stream
    from xaimed_bench.networks import open_network
    from xaimed_core import explain, road

    assert evaluate("out") == 0
    images = open_set("scans")
    items = images.split("testing")
    batch = next(iter(stream(items, images.classes, size=32, batch=2, on_unreadable=lambda _: None)))
    model = open_network("fewnets:plain", classes=images.classes).model
    e = explain(model, batch.images, "xgradcam", "2")
    expected = road(model, batch.images, e, method="xgradcam", seed=0).score
    stored = rows("out")
    got = torch.tensor([stored[name, "2", "xgradcam", "road"] for name in batch.names])
    assert torch.allclose(got, expected, atol=1e-6)


def test_the_forwards_that_it_says_it_needs_are_those_that_run(scans, monkeypatch) -> None:
    """Too few rows for a proof that they are independent: it would run more."""
    ran: list[int] = []
    score = running.score_batch

    def counted(model, images, *given, **options):
        handle = model.register_forward_pre_hook(lambda _, inputs: ran.append(len(inputs[0])))
        try:
            return score(model, images, *given, **options)
        finally:
            handle.remove()

    monkeypatch.setattr(running, "score_batch", counted)
    asked = ("--methods", "xgradcam", "--metrics", "road,drop,insertion,mass", "--steps", "3")
    assert evaluate("out", *asked, "--batch", "4", "--limit", "4") == 0
    took = load(Path("out/summary.json")).spent
    assert took is not None
    assert took.needed == 1 + 5 * (8 + 1 + 2) + 1, "5 maps; an image blurred whole serves all of them"
    once = 1  # the first batch shows whether images mix
    assert sum(ran) == 4 * (took.needed - 1 + once), "the scores of the images as they are came with the maps"
    assert (took.batches, took.batch, set(took.parts)) == (1, 4, {"maps", "faithfulness", "localisation"})
    assert took.whole == pytest.approx(sum(took.parts.values()))
    assert took.parts["faithfulness"] > took.parts["localisation"] > 0


def test_what_cannot_be_read_is_named_and_the_run_goes_on(scans, capsys) -> None:
    Path("scans/Testing/dark/broken.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    Path("scans/Testing/light/empty.png").touch()
    assert evaluate("out") == 0
    said = capsys.readouterr().out
    assert "Testing/dark/broken.png: " in said
    assert "Testing/light/empty.png: " in said
    assert len({image for image, *_ in rows("out")}) == 12


def test_classes_that_the_network_does_not_know_are_named_and_can_be_renamed(
    scans, checkpoint, capsys
) -> None:
    Path("scans/Testing/light").rename("scans/Testing/bright")
    Path("scans/Training/light").rename("scans/Training/bright")
    options = ("--checkpoint", checkpoint, "--limit", "4")
    assert evaluate("out", *options) == 2
    assert (
        "has the class 'bright', and the network knows dark, light; say which it is: --rename"
        in capsys.readouterr().err
    )
    assert evaluate("out", *options, "--rename", "bright=light") == 0
    assert load(Path("out/summary.json")).accuracy[0].value is not None


def test_the_report_shows_the_published_values_and_the_command(scans, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["xaimed", "evaluate", "folder/scans"])
    assert evaluate("out") == 0
    text = Path("out/report.md").read_text()
    assert "Published (arXiv 2503.08420): accuracy on skin 86.31 %" in text
    assert "Command: `xaimed evaluate scans`" in text
    page = Path("out/report.html").read_text()
    assert "<script" not in page
    assert json.loads(Path("out/settings.json").read_text())["methods"] == [
        "xgradcam",
        "ablationcam",
        "eigengradcam",
    ]


# ------------------------------------------------------------------------------------------- values and networks
def test_deletion_and_insertion_are_those_of_the_library_with_so_many_steps(scans) -> None:
    """The ends of the curves are found once for all maps, and the values are the same."""
    from xaimed_bench.data.sets import open_set
    from xaimed_bench.data.stream import stream
    from xaimed_bench.networks import open_network
    from xaimed_core import explain
    from xaimed_core.faithfulness import METRICS
    from xaimed_core.faithfulness import evaluate as faithfulness
    from xaimed_core.faithfulness.evaluation import with_removal

    assert evaluate("out", "--metrics", "deletion,insertion,road-morf", "--steps", "4") == 0
    images = open_set("scans")
    batch = next(iter(stream(images.split("testing"), images.classes, size=32, batch=2, on_unreadable=print)))
    model = open_network("fewnets:plain", classes=images.classes).model
    e = explain(model, batch.images, "ablationcam", "2")
    stored = rows("out")
    assert {metric for *_, method, metric in stored if method == "ablationcam"} == {
        "deletion", "insertion", "road-morf"}  # fmt: skip
    for name in ("deletion", "insertion"):
        metric = METRICS[name]
        metric = with_removal(metric, metric.perturbation.removal, (0, 0.25, 0.5, 0.75, 1))
        expected = faithfulness(metric, model, batch.images, e, seed=0).score.tolist()
        assert [stored[image, "2", "ablationcam", name] for image in batch.names] == pytest.approx(
            expected, abs=1e-6
        )


def test_every_row_says_whether_the_network_is_right_and_of_which_group_the_image_is(scans) -> None:
    assert evaluate("out", "--limit", "4") == 0
    for row in read(Path("out")).to_pylist():
        assert row["label"] == Path(row["image"]).parent.name
        assert row["correct"] == (row["label"] == row["predicted"])
        assert 0.5 <= row["confidence"] <= 1
        assert row["group"] is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--layer", "5"), "plain on Testing/dark/new0.png"),
        (("--layer", "9"), "--layer 9: plain has no such module"),
        (("--methods", "refinecam"), "refinecam: it needs several layers, e.g. --layer layer2,layer3,layer4"),
        (("--methods", "fullgrad", "--layer", "1,2"), "--layer 1,2: none of the methods is for it"),
        (("--methods", "gradcam,nothing"), "--methods: no 'nothing'; there are gradcam"),
        (("--metrics", ","), "--metrics: nothing given; there are road"),
        (("--model", "fewnets:none"), "fewnets:none cannot be imported"),
        (("--model", "fewnets:broken"), "broken on Testing/dark/new0.png"),
        (("--model", "fewnets:one"), "one on Testing/dark/new0.png"),
        (("--rename", "grey=dark"), "--rename grey: no such class; there are dark, light"),
    ],
)
def test_what_cannot_be_evaluated_is_one_sentence(scans, options, words, capsys) -> None:
    """A layer without places, or that is not there; a network that answers NaN, or with a single number."""
    more = """
class Broken(nn.Sequential):
    def forward(self, x):
        return super().forward(x) * float("nan")

def broken(classes):
    return Broken(*plain(classes))

def one(classes):
    return nn.Sequential(*plain(classes), nn.Linear(classes, 1))
"""
    with Path("fewnets.py").open("a") as file:
        file.write(more)
    sys.modules.pop("fewnets", None)
    assert evaluate("out", *options) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_a_checkpoint_of_other_classes_is_refused_by_their_names(scans, checkpoint, capsys) -> None:
    for split in ("Training", "Testing"):
        Path("scans", split, "light").rename(Path("scans", split, "bright"))
    capsys.readouterr()
    assert evaluate("out", "--checkpoint", checkpoint) == 2
    said = capsys.readouterr().err
    assert "'bright'" in said
    assert "dark, light" in said
    assert not Path("out/rows").exists()
