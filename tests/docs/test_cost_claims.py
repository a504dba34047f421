"""What pages promise of costs is what the committed results hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaimed_reports.show.summary import Line, lines
from xaimed_reports.store.load import load
from xaimed_reports.study.evaluation import load as load_evaluation
from xaimed_reports.study.words import findings

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "reports/results/amd-epyc-1-thread"


def cases(name: str) -> dict[str, Line]:
    return {line.key: line for line in lines(load(RESULTS / name))}


def test_localisation_equals_quantus_and_is_twenty_times_as_fast() -> None:
    found = cases("localisation.json")
    assert len(found) == 7
    for line in found.values():
        assert line.ours is not None
        assert line.ours.fidelity is not None
        assert line.ours.fidelity.largest <= 1e-6
        assert line.speedup is not None
        assert line.speedup.low >= 20


@pytest.mark.parametrize("outputs", ["sought", "known"])
def test_road_of_a_resnet50_costs_its_forwards(outputs: str) -> None:
    line = cases("road-forwards.json")[f"road beside its forwards[resnet50-224-4-{outputs}]"]
    assert line.ours_forwards is not None
    assert line.ours_forwards <= 1.05


def test_an_evaluation_of_a_resnet50_costs_its_forwards() -> None:
    took = load_evaluation(RESULTS / "evaluation-resnet50.json").spent
    assert took is not None
    assert took.whole <= 1.15


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("evaluation-resnet50", "The evaluation took"),
        ("evaluation-resnet50-two-layers", "The evaluation took"),
        ("evaluation-ten-thousand-images", "Peak memory"),
    ],
)
def test_the_page_repeats_what_the_findings_say(name: str, begins: str) -> None:
    said = findings(load_evaluation(RESULTS / f"{name}.json"))
    (sentence,) = (each for each in said if each.startswith(begins))
    assert f"\n> {sentence}\n" in (ROOT / "docs/study.md").read_text()
