"""docs/study.md states how often trained networks are right; the committed trainings say so."""

import json
from pathlib import Path

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
