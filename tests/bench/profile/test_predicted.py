"""What counted kernels would take on a GPU of given rates."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from xaimed_bench.cli import main
from xaimed_bench.profile import choose_setting
from xaimed_bench.profile.predicted import predict, predicted_time
from xaimed_bench.profile.predicted.counts import counted_cases, images_in
from xaimed_bench.profile.predicted.issue_rate import VALUES, launch
from xaimed_kernels.emulator import Device, emulating
from xaimed_reports.profile.card import Rates, load_card

ROOT = Path(__file__).parents[3]
RATES = Rates(issue_per_s=1e9, bytes_per_s=1e6)
GIVEN = ["profile", "--device", "cpu", "--only", "predicted"]


def test_each_kernel_takes_the_longer_of_issuing_and_moving():
    operation, case = next(iter(counted_cases().values()))
    counted = {
        "call": {"launches": 3, "moved_bytes": 500},
        "issues": {"warp_instructions": 10_000, "touched_sectors": 1},
        "moves": {"warp_instructions": 100, "touched_sectors": 10},
    }
    found, images = predicted_time(operation, case, counted, RATES), images_in(case)
    assert found.seconds == pytest.approx(images * (32e-6 + 320e-6))
    assert predicted_time(operation, case, counted, Rates(1e8, 1e6)).seconds == pytest.approx(
        images * (100e-6 + 320e-6)
    )
    assert found.likely_s == pytest.approx(images * (32e-6 + 320e-6))
    assert found.limit == "bandwidth"
    assert found.copy_share(RATES) == pytest.approx(500e-6 / 352e-6)
    slow = predicted_time(operation, case, counted, Rates(2e8, 1e6))
    assert slow.seconds == pytest.approx(images * (50e-6 + 320e-6))
    assert slow.likely_s == pytest.approx(images * (100e-6 + 320e-6))
    assert slow.limit == "issue rate"


def test_every_bench_case_is_predicted_from_the_committed_counts():
    setting = choose_setting(torch.device("cpu"), quick=True)
    found = predict(replace(setting, counts=ROOT / "reports/results/counts.json", rates=Rates(927e9, 3e12)))
    assert found.how == "given"
    assert [row.operation for row in found.rows] == [
        operation.name for operation, _ in counted_cases().values()
    ]
    for row in found.rows:
        assert row.seconds >= max(row.warp_instructions / 927e9, row.needed_bytes / 3e12)
        assert row.seconds <= row.likely_s <= 2 * row.seconds


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "needs --issue-rate and --bandwidth"),
        (("--issue-rate", "927"), "needs both --issue-rate and --bandwidth"),
        (("--issue-rate", "0", "--bandwidth", "3000"), "'0' given"),
        (("--issue-rate", "nan", "--bandwidth", "3000"), "'nan' given"),
        (("--issue-rate", "927", "--bandwidth", "3000"), "xaimed kernels --counts --accept"),
        (("--static", "--bandwidth", "3000"), "leave out what is of one device"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(words, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*GIVEN, *words]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert not list(tmp_path.rglob("profile.json"))


def test_the_card_holds_the_prediction_and_its_picture(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert main([*GIVEN, "--issue-rate", "927", "--bandwidth", "3000", "--out", str(tmp_path)]) == 0
    assert "Predicted, not measured: for a GPU that issues 927 thousand million" in capsys.readouterr().out
    assert load_card(tmp_path / "profile.json").predicted.rates == Rates(927e9, 3e12)
    assert "![Predicted roofline](predicted.svg)" in (tmp_path / "profile.md").read_text()
    assert "issue rate, 927 G/s" in (tmp_path / "predicted.svg").read_text()
    assert not (tmp_path / "profile.svg").exists()


@pytest.mark.ptx
def test_the_kernel_that_measures_the_issue_rate_does_little_else():
    out = torch.empty(2 * VALUES)
    with emulating(Device(multiprocessors=2), counted=True) as emulation:
        expected = launch(out, 2, 20)
    counts = emulation.launches[0].counts
    assert counts.by_opcode["fma.rn.f32"] == expected
    assert expected <= counts.warp_instructions < 1.03 * expected
    assert not emulation.findings
