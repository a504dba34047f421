"""A run that ends early: what is kept of it, and what a resumed run measures again."""

import pytest
import torch

from xaimed_bench.measure import Plan, session
from xaimed_bench.measure.session import Session, what_finished
from xaimed_reports.store.journal import Journal
from xaimed_reports.store.records import Case, Conditions, Memory, Timing
from xaimed_reports.store.rows import Timed

CPU = torch.device("cpu")


def test_ctrl_c_keeps_finished_cases_and_the_interrupted_one_is_measured_again(ask, plan, make_run, tmp_path):
    head, path = make_run(), tmp_path / "run.journal.jsonl"
    asked = {name: ask(case=Case("toy", {"x": name}, 1)) for name in "ab"}

    def interrupted():
        raise KeyboardInterrupt

    first = Session(head, plan, CPU, expected=2, journal=Journal(path))
    finished = first.rows(asked["a"])
    with pytest.raises(KeyboardInterrupt):
        first.rows(ask(ours=interrupted, case=Case("toy", {"x": "b"}, 1)))
    second = Session(head, plan, CPU, expected=2, journal=Journal(path), recovered=what_finished(path, head))
    assert second.rows(asked["a"]) == finished
    assert {row.status for row in second.rows(asked["b"]).values()} == {"ok"}


def test_a_case_that_killed_the_process_is_not_tried_again(ask, plan, make_run, tmp_path):
    head, path = make_run(), tmp_path / "run.journal.jsonl"
    journal = Journal(path)
    journal.start(head)
    journal.begin("toy[1]")
    found = Session(head, plan, CPU, expected=1, recovered=what_finished(path, head)).rows(ask())
    assert found["ours"].status == "failed"
    assert "not tried again" in found["ours"].reason


def test_what_cases_take_beside_their_timed_calls_is_left_out_of_the_budgets(
    ask, make_run, fake_clock, monkeypatch
):
    budgets_s, beside_s = [], 2.0

    def measured(question, plan, device, *, cold):
        budgets_s.append(plan.budget_s)
        fake_clock.now += plan.budget_s + beside_s
        timing = Timing((plan.budget_s,), (0,), ("",), first_s=1.0, warm_up_s=1.0)
        memory, conditions = Memory(1, "by hand"), Conditions(0.0, 0.0, 0.0, 0, 1)
        row = Timed(
            case=question.case,
            impl="ours",
            what="xaimed",
            timing=timing,
            memory=memory,
            conditions=conditions,
        )
        return (row,)

    monkeypatch.setattr(session, "measure_case", measured)
    plan = Plan(20.0, min_blocks=4, max_blocks=8, relative_error=0.0, warm_up_s=0.1, total_s=40.0)
    found = Session(make_run(), plan, CPU, expected=4)
    for x in "abcd":
        found.rows(ask(case=Case("toy", {"x": x}, 1)))
    assert budgets_s == pytest.approx([5.0, 9.0, 9.0, 9.0])  # of the first case's ten seconds, half
    assert fake_clock.now == pytest.approx(plan.total_s)
