"""docs/study.md states how often trained networks are right; the committed trainings say so. Its Python runs."""

import json
import re
from pathlib import Path

import pytest

from xaimed_bench.study.evaluate.shards import store

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "title"), [("vgg16", "VGG-16"), ("lite0", "EfficientNet-Lite0")])
def test_the_accuracies_are_those_of_the_committed_trainings(name, title) -> None:
    found = json.loads((ROOT / f"reports/results/amd-epyc-1-thread/training-{name}.json").read_text())
    page = (ROOT / "docs/study.md").read_text()
    row = next(line for line in page.splitlines() if line.startswith(f"| {title} "))
    assert [cell.strip() for cell in row.split("|")[3:6]] == [
        f"{s['accuracy']:.1%}".replace("%", " %") for s in found["scores"]
    ]


def test_the_example_that_reads_the_rows_prints_means(tmp_path, monkeypatch, capsys) -> None:
    about = {"layer": ["last"] * 3, "method": ["xgradcam"] * 3, "metric": ["road", "road", "drop"]}
    nothing = dict.fromkeys(("image", "group", "label", "predicted", "correct", "confidence"), [None] * 3)
    store(tmp_path / "runs/vgg16-maps", 0, {**nothing, **about, "value": [0.25, 0.75, 9.0]}, [])
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/study.md").read_text(), re.DOTALL)
    exec(block, {})
    assert capsys.readouterr().out == "{'layer': 'last', 'method': 'xgradcam', 'value_mean': 0.5}\n"
