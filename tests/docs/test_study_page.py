"""docs/study.md states how often trained networks are right, and how ROAD ranks maps where the truth is known."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "title"), [("vgg16", "VGG-16"), ("lite0", "EfficientNet-Lite0")])
def test_the_accuracies_are_those_of_the_committed_trainings(name, title) -> None:
    found = json.loads((ROOT / f"reports/results/amd-epyc-1-thread/training-{name}.json").read_text())
    page = (ROOT / "docs/study.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| {title} "))
    assert [cell.strip() for cell in row.split("|")[3:6]] == [
        f"{s['accuracy']:.1%}".replace("%", " %") for s in found["scores"]
    ]


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
