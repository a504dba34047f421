"""docs/study.md states how often trained networks are right, as the committed trainings say. Its Python runs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from xaimed_bench.study.evaluate.shards import store

ROOT = Path(__file__).parents[2]


BRAIN = {
    "vgg16": "VGG-16 | linear classifier",
    "lite0-probe": "EfficientNet-Lite0 | linear classifier",
    "lite0": "EfficientNet-Lite0 | from ImageNet's weights",
    "lite0-refit": "EfficientNet-Lite0 | the same, then a linear classifier",
    "lite0-probe-first": "EfficientNet-Lite0 | `probe-first`, 2 epochs, `--lr 0.0003`",
    "lite0-probe-first-0.0001": "EfficientNet-Lite0 | `probe-first`, 2 epochs, `--lr 0.0001`",
    "lite0-probe-first-0.00003": "EfficientNet-Lite0 | `probe-first`, 2 epochs, `--lr 0.00003`",
    "lite0-probe-first-refit": "EfficientNet-Lite0 | at `--lr 0.0001`, then a linear classifier",
    "resnet50-scratch": "ResNet-50 | from scratch",
}
SMALL = {"chest-lite0": "chest-xray-pneumonia-224", "skin-lite0": "skin-ham10000-224"}


def training(name: str) -> dict:
    first = sorted(ROOT.glob(f"reports/results/*/training-{name}.json"))[0]
    return json.loads(first.read_text())


def cells_of(start: str) -> list[str]:
    lines = (ROOT / "docs/study.md").read_text().splitlines()
    (row,) = [line for line in lines if line.startswith(f"| {start}")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


@pytest.mark.parametrize("name", BRAIN)
def test_the_accuracies_are_those_of_the_committed_trainings(name) -> None:
    found = training(name)
    loss = min(row["validation_loss"] for row in found["log"] if "validation_loss" in row)
    assert cells_of(BRAIN[name])[2:] == [f"{loss:.3f}", *(percent(s["accuracy"]) for s in found["scores"])]


def test_what_was_aimed_at_is_reached_by_whom_the_page_says() -> None:
    reached = {
        name
        for name in BRAIN
        if all(s["accuracy"] >= aim for s, aim in zip(training(name)["scores"], (0.75, 0.68), strict=False))
    }
    assert reached == {"vgg16", "lite0-probe-first-refit"}


@pytest.mark.parametrize("name", SMALL)
def test_the_small_sets_are_what_the_committed_trainings_say(name) -> None:
    found, (_, trained, tested, right) = training(name), cells_of(SMALL[name])
    assert found["data"]["name"] == SMALL[name]
    assert [int(trained), int(tested)] == [found["data"]["images"][k] for k in ("training", "testing")]
    assert right == percent(found["scores"][0]["accuracy"])


def test_the_example_that_reads_the_rows_prints_means(tmp_path, monkeypatch, capsys) -> None:
    about = {"layer": ["last"] * 3, "method": ["xgradcam"] * 3, "metric": ["road", "road", "drop"]}
    nothing = dict.fromkeys(("image", "group", "label", "predicted", "correct", "confidence"), [None] * 3)
    store(tmp_path / "runs/vgg16-maps", 0, {**nothing, **about, "value": [0.25, 0.75, 9.0]}, [])
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/study.md").read_text(), re.DOTALL)
    exec(block, {})
    assert capsys.readouterr().out == "{'layer': 'last', 'method': 'xgradcam', 'value_mean': 0.5}\n"


def test_where_the_truth_is_known_road_ranks_maps_as_the_page_says(capsys) -> None:
    (code,) = re.findall(
        r'```python title="truth known"\n(.*?)```', (ROOT / "docs/study.md").read_text(), re.DOTALL
    )
    known: dict[str, Any] = {}
    exec(code, known)
    score = {name: float(row.score) for name, row in known["table"].rows.items()}
    shown = re.findall(r"^\| ([^|]*?)(?: \(baseline\))? \|", capsys.readouterr().out, re.MULTILINE)[1:]
    assert shown == sorted(score, key=lambda name: -score[name])
    assert shown[:3] == ["true", "true, blurred", "centre-Gaussian"]
    assert all(abs(score[name]) < score["centre-Gaussian"] / 2 for name in ("random", "shifted"))
    assert score["true"] > 2 * score["centre-Gaussian"] > 0 > score["inverted"]
