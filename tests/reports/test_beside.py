"""Two profile cards side by side; and every file of xaimed's, given to the wrong command, is named."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from xaimed_bench.cli import main
from xaimed_reports.profile.beside import beside
from xaimed_reports.profile.card import Predicted, PredictedTime, Rates, load_card, store_card
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.kinds import kind_of

RESULTS = Path(__file__).parents[2] / "reports/results"
STORED = next(RESULTS.rglob("profile.json"))


def test_ratios_are_the_second_over_the_first_and_the_software_that_differs_is_named() -> None:
    card = load_card(STORED)
    assert card.roofs is not None
    newer = replace(card.machine, cpu="Another", versions={**card.machine.versions, "torch": "9.9"})
    other = replace(
        card,
        machine=newer,
        road=None,
        roofs=replace(card.roofs, copy_bytes_per_s=2 * card.roofs.copy_bytes_per_s),
    )
    said = beside(card, other)
    copied = next(line for line in said.splitlines() if line.startswith("| copy "))
    assert copied.endswith("| 2.00 |")
    assert f"Software differs: torch {card.machine.versions['torch']} and 9.9." in said
    assert "In one card only: ROAD, batch" in said


def test_predictions_for_two_gpus_stand_beside_each_other() -> None:
    def predicted(seconds: float) -> Predicted:
        row = PredictedTime("impute", "1x3", 4, 8, 8, 8, seconds, seconds)
        return Predicted(Rates(1e9, 1e9), "given", "triton 3.8.0", (row,))

    first, second = (replace(load_card(STORED), predicted=predicted(seconds)) for seconds in (1e-6, 5e-7))
    assert "| impute 1x3, predicted | 1 µs | 500 ns | 0.50 |" in beside(first, second)


def test_cards_without_a_common_figure_are_refused() -> None:
    card = load_card(STORED)
    with pytest.raises(UnusableError, match="share no figure"):
        beside(card, type(card)(card.machine))


def test_the_commands_show_and_compare_cards(tmp_path, capsys) -> None:
    store_card(tmp_path / "b.json", load_card(STORED))
    assert main(["report", str(STORED)]) == 0
    assert "Images per second" in capsys.readouterr().out
    assert main(["compare", str(STORED), str(tmp_path / "b.json"), "--markdown", "-"]) == 0
    assert "The software is the same." in capsys.readouterr().out


@pytest.mark.parametrize("file", sorted(RESULTS.rglob("*.json")), ids=lambda file: file.name)
def test_every_committed_json_is_known(file) -> None:
    assert kind_of(json.loads(file.read_text())) is not None
