"""A run that ends early: what is kept of it, and what a resumed run measures again."""

from contextlib import closing, contextmanager

import pytest
import torch

from xaimed_bench.measure import Plan, session
from xaimed_bench.measure.case import unmeasured
from xaimed_bench.measure.plan import OutOfTimeError
from xaimed_bench.measure.session import Session, what_finished
from xaimed_reports.store.journal import Journal
from xaimed_reports.store.records import Case, Conditions, Memory, Timing
from xaimed_reports.store.rows import Timed

CPU = torch.device("cpu")


@pytest.fixture
def resume(plan, make_run, tmp_path):
    """Opens a session on the journal of the one before."""
    path, head = tmp_path / "run.journal.jsonl", make_run()

    @contextmanager
    def resume():
        with closing(Journal(path)) as journal:
            found = what_finished(path, head)
            yield Session(head, plan, CPU, expected=2, journal=journal, recovered=found)

    return resume


def test_ctrl_c_keeps_finished_cases_and_the_interrupted_one_is_measured_again(ask, resume):
    asked = {name: ask(case=Case("toy", {"x": name}, 1)) for name in "ab"}

    def interrupted():
        raise KeyboardInterrupt

    with resume() as first:
        finished = first.rows(asked["a"])
        with pytest.raises(KeyboardInterrupt):
            first.rows(ask(ours=interrupted, case=Case("toy", {"x": "b"}, 1)))
    for _ in range(2):  # and an interrupted case is never taken for one that kills
        with resume() as again:
            assert again.rows(asked["a"]) == finished
            with pytest.raises(KeyboardInterrupt):
                again.rows(ask(ours=interrupted, case=Case("toy", {"x": "b"}, 1)))
    with resume() as last:
        assert {row.status for row in last.rows(asked["b"]).values()} == {"ok"}


@pytest.mark.parametrize(("kills", "status"), [(1, "ok"), (2, "failed")])
def test_a_case_that_killed_the_process_is_tried_once_more(kills, status, ask, resume):
    for _ in range(kills):
        with resume() as killed:
            killed._journal.begin("toy[1]")
    with resume() as again:
        found = again.rows(ask())
    assert {row.status for row in found.values()} == {status}
    assert ("not tried again" in str(getattr(found["ours"], "reason", ""))) == (status == "failed")
    with resume() as known:
        assert known.knows("toy[1]")


def test_a_run_that_ends_on_time_leaves_out_what_does_not_fit(
    ask, make_run, fake_clock, monkeypatch, tmp_path
):
    """Its rows say so, the journal does not hold them, and a resumed run measures them."""
    head, path, asked = make_run(), tmp_path / "run.journal.jsonl", []

    def measured(question, plan, device, *, cold):
        fake_clock.now += 10.0
        asked.append(question.case.key)
        if fake_clock.now > plan.until_s:
            raise OutOfTimeError
        return unmeasured(question, "ok", "checked")

    monkeypatch.setattr(session, "measure_case", measured)
    plan = Plan(8.0, min_blocks=4, max_blocks=8, relative_error=0.0, warm_up_s=0.1, total_s=35.0, ends=True)
    cases = [Case("toy", {"x": x}, 1) for x in "abcde"]

    def run():
        with closing(Journal(path)) as journal:
            found = Session(head, plan, CPU, expected=5, journal=journal, recovered=what_finished(path, head))
            left = []
            for case in cases:
                if not found.knows(case.key) and not found.fits():
                    found.leave_out(case)
                if found.left_out(case.key) is None:
                    left.append(found.begin(case.key).rpartition(", ")[2])
                    found.rows(ask(case=case))
            return found, left

    first, left = run()
    assert left == ["0:00:35 left at most", "0:00:25 left at most", "0:00:15 left at most"]
    rows = {row.case.key: row for row in first.run().rows if row.impl == "ours"}
    assert [row.status for row in rows.values()] == ["ok", "ok", "ok", "skipped", "skipped"]
    assert rows["toy[e]"].reason == "no time left: --resume measures it, or a --budget above 35 seconds"
    assert first.counted().startswith("measured 3 of 5 cases; 2 were not: no time left")
    asked.clear()
    second, _ = run()
    assert asked == ["toy[d]", "toy[e]"]
    assert second.counted() == "measured 5 of 5 cases"


@pytest.mark.parametrize(("building_s", "blocks"), [(20.0, 4), (120.0, 2), (150.0, 1), (400.0, 1)])
def test_however_slow_the_machine_the_first_case_is_measured(
    building_s, blocks, ask, make_run, fake_clock, tmp_path
):
    """With as many turns as fit; the others say which option would measure them, and a resumed run goes further."""
    maps, path = torch.linspace(0, 1, 64).reshape(1, 8, 8), tmp_path / "run.journal.jsonl"
    plan = Plan(8.0, min_blocks=4, max_blocks=8, relative_error=0.0, warm_up_s=2.0, total_s=300.0, ends=True)

    def slow(seconds):
        def call():
            fake_clock.now += seconds
            return maps

        return call

    def run():
        head, began_s = make_run(), fake_clock.now
        with closing(Journal(path)) as journal:
            found = Session(head, plan, CPU, expected=3, journal=journal, recovered=what_finished(path, head))
            for x in "abc":
                case = Case("toy", {"x": x}, 1)
                if found.recover(case.key):
                    continue
                if not found.fits():
                    found.leave_out(case)
                    continue
                fake_clock.now += building_s
                found.rows(ask(slow(6.0), slow(20.0), forward=slow(6.0), case=case))
            rows = {row.case.axes["x"]: row for row in found.run().rows if row.impl == "ours"}
            return list(rows.values()), fake_clock.now - began_s

    (first, *others), took_s = run()
    assert len(first.timing.blocks) == blocks
    assert first.memory.how
    assert took_s <= 300.0 or building_s > 300.0
    assert {row.reason for row in others} == {
        "no time left: --resume measures it, or a --budget above 300 seconds"
    }
    (again, second, third), _ = run()
    assert again == first
    assert (second.status, third.status) == ("ok", "skipped")


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
