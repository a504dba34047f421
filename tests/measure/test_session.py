"""A run that ends early: what is kept of it, and what a resumed run measures again."""

import pytest
import torch

from xaimed_core.measure.session import Session, what_finished
from xaimed_reports.journal import Journal
from xaimed_reports.records import Case

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
