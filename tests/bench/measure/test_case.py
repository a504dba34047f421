"""One case: checked before timed, a status for everything that can happen, nothing timed that is wrong."""

from dataclasses import replace

import pytest
import torch

from xaimed_bench.measure.case import Question, measure_case
from xaimed_reports.store.records import Case
from xaimed_reports.store.rows import Timed, Untimed

CPU = torch.device("cpu")
MAPS = torch.linspace(0, 1, 64).reshape(1, 8, 8)


def rows(question, plan):
    return {row.impl: row for row in measure_case(question, plan, CPU)}


def test_agreeing_arms_are_timed_weighed_and_compared(ask, plan):
    found = rows(ask(forward=MAPS.sum, notes=lambda out: [f"{len(out)} maps"]), plan)
    for row in found.values():
        assert row.status == "ok"
        assert len(row.timing.wall_s) >= plan.min_blocks
        assert len(row.forward.wall_s) >= plan.min_blocks
        assert row.timing.first_s > 0
        assert row.memory.peak_bytes is not None or row.memory.reason
        assert row.conditions.threads >= 1
    assert found["ours"].fidelity.largest == 0
    assert found["ours"].allowed == 1e-4
    assert found["ours"].notes == ("1 maps",)
    assert found["reference"].fidelity is None


def test_a_wrong_result_gets_no_time_and_neither_does_what_it_was_compared_with(ask, plan):
    calls = []
    found = rows(ask(ours=lambda: MAPS + 0.01, reference=lambda: calls.append(1) or MAPS), plan)
    assert found["ours"].status == "wrong"
    assert "largest difference 0.01, allowed 0.0001" in found["ours"].reason
    assert found["reference"].status == "skipped"
    assert {type(row) for row in found.values()} == {Untimed}
    assert len(calls) == 1


def test_an_arm_of_another_definition_is_timed_and_its_difference_said(ask, plan):
    arms = {"ours": lambda: MAPS, "peer": lambda: MAPS + 0.01}
    for unlike, status in (((), "wrong"), (("peer",), "ok")):
        question = replace(ask(), arms={**ask().arms, **arms}, unlike=unlike)
        found = rows(question, plan)
        assert found["ours"].status == "ok"
        assert found["peer"].status == status
    assert found["peer"].notes == ("another definition: largest difference 0.01, allowed 0.0001",)
    assert found["peer"].timing.first_s > 0


def test_a_nan_is_wrong_whatever_is_allowed(ask, plan):
    found = rows(ask(ours=lambda: torch.full_like(MAPS, float("nan")), allowed=1.0), plan)
    assert found["ours"].status == "wrong"


def test_maps_of_another_shape_are_wrong_and_say_so(ask, plan):
    found = rows(ask(ours=lambda: MAPS[:, :4]), plan)
    assert found["ours"].status == "wrong"
    assert "must be the same" in found["ours"].reason


def test_a_flat_reference_makes_the_case_degenerate_never_agreement(ask, plan):
    found = rows(ask(ours=lambda: MAPS * 0, reference=lambda: MAPS * 0), plan)
    assert {row.status for row in found.values()} == {"degenerate"}
    assert isinstance(found["ours"], Untimed)
    assert "spread in only 0%" in found["ours"].reason


def test_one_flat_map_in_ten_still_counts_and_two_do_not(ask, plan):
    def batch(flat):
        maps = MAPS.expand(10, 8, 8).clone()
        maps[:flat] = 0
        return lambda: maps

    assert rows(ask(batch(1), batch(1)), plan)["ours"].status == "ok"
    assert rows(ask(batch(2), batch(2)), plan)["ours"].status == "degenerate"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no\nluck"), "failed"),
        (MemoryError("full"), "oom"),
        (RuntimeError("size mismatch"), "failed"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried"), "oom"),
        (torch.cuda.OutOfMemoryError("CUDA out of memory"), "oom"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "oom"),
    ],
)
def test_an_error_becomes_a_status_with_its_message_in_one_line(error, status, ask, plan):
    def broken():
        raise error

    found = rows(ask(ours=broken), plan)
    assert found["ours"].status == status
    assert "\n" not in found["ours"].reason
    assert found["reference"].status == "skipped"
    found = rows(ask(reference=broken), plan)
    assert found["reference"].status == status
    assert found["ours"].status == "skipped"
    assert "nothing to check against" in found["ours"].reason


def test_an_error_while_timing_becomes_a_status_too(ask, plan):
    calls = []

    def breaks_later():
        calls.append(1)
        if len(calls) > 3:
            raise MemoryError
        return MAPS

    assert {row.status for row in rows(ask(ours=breaks_later), plan).values()} == {"oom"}


def test_absent_arms_get_a_row_with_the_reason(ask, plan):
    found = rows(ask(absent={"captum": "not installed"}), plan)
    assert (found["captum"].status, found["captum"].reason) == ("skipped", "not installed")


def test_a_truth_judges_every_arm(ask, plan):
    found = rows(ask(reference=lambda: MAPS + 0.5, truth=lambda: MAPS), plan)
    assert found["ours"].status == "ok"
    assert found["reference"].status == "wrong"
    assert isinstance(found["ours"], Timed)
    assert isinstance(found["reference"], Untimed)


def test_a_difference_within_the_references_own_rounding_is_no_error(ask, plan):
    found = rows(ask(ours=lambda: MAPS + 0.001, exact=lambda: MAPS + 0.002), plan)
    assert found["ours"].status == "ok"
    assert found["ours"].allowed == pytest.approx(0.002, rel=1e-4)
    assert "higher precision" in found["ours"].notes[-1]
    assert rows(ask(ours=lambda: MAPS + 0.003, exact=lambda: MAPS + 0.002), plan)["ours"].status == "wrong"
    untouched = rows(ask(exact=lambda: pytest.fail("asked without need")), plan)
    assert untouched["ours"].status == "ok"


def test_without_a_plan_a_case_is_checked_and_not_timed(ask):
    found = rows(ask(), None)
    assert found["ours"].status == "ok"
    assert found["ours"].fidelity.largest == 0
    assert isinstance(found["ours"], Untimed)


def test_a_question_without_anything_to_check_against_is_refused():
    with pytest.raises(ValueError, match="nothing to check against"):
        Question(Case("toy", {}, 1), {"ours": lambda: MAPS}, {}, allowed=1e-4)


def test_memory_that_runs_out_while_judging_is_no_wrong_result(ask, plan):
    def judge(found, expected):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried")

    found = rows(ask(judge=judge), plan)
    assert found["ours"].status == "oom"
    assert isinstance(found["ours"], Untimed)
