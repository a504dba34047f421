"""A history's check finds steps and little else; its page shows them."""

import json
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from tests.reports.history.made import ROOT, ROW, history, made, said_by
from xaimed_reports.history.changes import change_points
from xaimed_reports.history.judge import check
from xaimed_reports.history.page import page
from xaimed_reports.history.points import Entry, Point, entry
from xaimed_reports.history.series import series
from xaimed_reports.history.store import Stored
from xaimed_reports.history.words import sentences
from xaimed_reports.store.rows import Timed


@pytest.mark.parametrize("changed", ["CPU", "torch", "threads", "GPU", "driver", "triton"])
def test_a_series_breaks_where_the_environment_changes_and_says_so(changed) -> None:
    both = series(history(made(0), made(1), made(2, **{changed: "other"})), "time")
    assert [len(each.points) for each in both] == [2, 1]
    assert both[1].broke.startswith(changed)
    assert "-> other" in both[1].broke


def test_another_definition_of_a_row_breaks_its_series() -> None:
    old, new = made(0), made(1)
    new = replace(new, points=tuple(replace(p, revision=2) for p in new.points))
    assert series(history(old, new), "time")[1].broke == "definition 1 -> 2"


def test_simulated_histories_alarm_rarely_and_show_steps_soon() -> None:
    """The committed result holds what is asked for, and is what a simulation gives; docs/tracking.md quotes it."""
    committed = json.loads((ROOT / "reports/results/history-simulation.json").read_text())
    found = said_by("simulate.py", "--histories", str(committed["histories"]))
    for each in (committed, found):
        ten, five = each["steps"]
        assert each["histories"] == 1000
        assert each["alarmed_without_step"] <= 0.01
        assert (ten["step"], ten["within_runs"], five["step"], five["within_runs"]) == (0.1, 2, 0.05, 5)
        assert ten["found"] >= 0.95
        assert five["found"] >= 0.80
    assert abs(found["alarmed_without_step"] - committed["alarmed_without_step"]) <= 0.002
    page = (ROOT / "docs/tracking.md").read_text()
    quoted = [committed["alarmed_without_step"], *(step["found"] for step in committed["steps"])]
    assert [f"{share:.1%}".replace("%", " %") in page for share in quoted] == [True] * 3


def runs(times, forwards=None, figures=None) -> tuple[Stored, ...]:
    forwards = forwards or [0.1] * len(times)
    figures = figures or [""] * len(times)
    each = zip(times, forwards, figures, strict=True)
    return history(*(made(i, t, f, kernels) for i, (t, f, kernels) in enumerate(each)))


@pytest.mark.parametrize(
    ("forwards", "figures", "cause", "exits"),
    [
        (None, None, "code", True),
        ([0.1] * 12 + [0.12] * 2, None, "machine", False),
        (None, ["a"] * 12 + ["b"] * 2, "kernels", True),
    ],
)
def test_the_cause_is_named_before_the_code_is_blamed(forwards, figures, cause, exits) -> None:
    usual = [1.1 + 0.001 * (i % 3) for i in range(12)]
    found = check(runs([*usual, 1.21, 1.21], forwards, figures))
    (step,) = found.steps
    assert (step.cause, step.before.number, step.first.number) == (cause, 12, 13)
    assert bool(found.findings) is exits
    assert f"since {13 - 1:012x}" in sentences(found)[0]


def test_a_lone_disturbed_run_is_no_step_and_a_gain_is_no_finding() -> None:
    usual = [1.1 + 0.001 * (i % 3) for i in range(12)]
    assert check(runs([*usual, 1.5, 1.1])).steps == ()
    faster = check(runs([*usual, 0.9, 0.9]))
    assert len(faster.steps) == 1
    assert faster.findings == ()


def disturbed(run: Entry) -> Entry:
    points = (replace(p, metric="disturbed") if p.metric == "time" else p for p in run.points)
    return replace(run, points=tuple(points))


def test_a_row_that_something_disturbed_is_kept_and_neither_judged_nor_gone(pair) -> None:
    busy = (
        structs.replace(row, conditions=replace(row.conditions, others_share=0.5))
        if isinstance(row, Timed)
        else row
        for row in pair.rows
    )
    quiet, found = entry(pair), entry(replace(pair, rows=tuple(busy)))
    assert (
        found.points
        == tuple(sorted(disturbed(quiet).points, key=lambda p: (p.row, p.metric)))
        != quiet.points
    )
    usual = [made(i, 1.1 + 0.001 * (i % 3)) for i in range(12)]
    slow = [made(12 + i, 1.21) for i in range(3)]
    assert check(history(*usual, *slow[:2])).findings
    assert not check(history(*usual, slow[0], disturbed(slow[1]))).findings
    assert check(history(*usual, slow[0], disturbed(slow[1]), slow[2])).findings[0].first.number == 13
    last = check(history(*usual, *slow[:2], disturbed(slow[2])))
    assert (last.judged, last.broken, last.disturbed) == ((), (), (ROW,))
    assert sentences(last) == [
        "something disturbed the machine during 1 rows: their times are kept, and not judged",
        "judged 0 of 1 rows of run 15: nothing worse",
    ]


@pytest.mark.parametrize("step", [1.1, 0.9])
def test_a_step_is_dated_to_its_first_run_though_the_series_was_too_short_to_be_judged_then(step) -> None:
    """Ten runs, the least that is judged, with the step from the seventh on."""
    times = [1.1 * (1 + 0.004 * (i % 3)) * (step if i >= 6 else 1) for i in range(10)]
    assert not any(check(runs(times[:k])).steps for k in range(1, 10))
    (found,) = check(runs(times)).steps
    assert (found.before.number, found.first.number) == (6, 7)


def test_a_short_series_is_not_judged_and_says_why() -> None:
    found = check(history(*(made(i) for i in range(20)), made(20, torch="2.15.0")))
    assert found.judged == ()
    assert sentences(found) == [
        "a new series began: torch 2.14.1 -> 2.15.0",
        "1 rows have fewer than 10 runs to compare with, so they are not judged",
        "judged 0 of 1 rows of run 21: nothing worse",
    ]


def test_a_row_that_is_gone_or_wrong_is_found_where_its_bench_ran() -> None:
    two = replace(made(1), points=(*made(1).points, Point("explaining[layercam]", "time", 1, 1, 1, 1)))
    other = replace(made(2), points=(Point("road[x]", "time", 1, 1, 1, 1),))
    assert check(history(two, made(2))).broken == (("explaining[layercam]", "gone"),)
    assert check(history(two, other)).broken == ()


def test_change_points_are_where_the_level_changed() -> None:
    rng = np.random.default_rng(3)

    def level(n):
        return rng.normal(1.2, 0.006, n)

    assert change_points([*level(60), *(1.1 * level(30))]) == [60]
    assert sum(bool(change_points([*level(60)])) for _ in range(50)) <= 2


def test_the_page_holds_all_and_asks_for_nothing() -> None:
    times = [1.1 + 0.001 * (i % 3) + (0.2 if i >= 20 else 0) for i in range(40)]
    found = page((*runs(times), Stored(41, made(41, torch="<script>"), "")))
    assert "<script" not in found
    assert f"<code>{20:012x}</code>: times a forward pass: +18" in found
    assert "a new series begins (torch 2.14.1 -&gt; &lt;script&gt;)" in found
    assert "http" not in found.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_ten_thousand_runs_are_drawn_with_few_marks() -> None:
    long = page(runs([1.1 + 0.001 * (i % 7) for i in range(10_000)]))
    short = page(runs([1.1 + 0.001 * (i % 7) for i in range(400)]))
    assert len(long) < 1.5 * len(short)
