"""The static gate: any moved figure is named, within one compiler, until it is accepted."""

import pytest

from xaimed_reports.jsonform import UnreadableError
from xaimed_reports.static import load_static, static_changes, store_static

FACTS = {"sm_90: a": {"registers": 32, "spilled_bytes": 0}, "sm_90: b": {"registers": 40, "spilled_bytes": 0}}


def test_equal_figures_are_no_change():
    assert static_changes(FACTS, dict(reversed(FACTS.items()))) == []


def test_a_spill_a_new_and_a_vanished_kernel_are_named():
    now = {
        "sm_90: a": {"registers": 32, "spilled_bytes": 16},
        "sm_90: c": {"registers": 8, "spilled_bytes": 0},
    }
    assert static_changes(FACTS, now) == [
        "changed: sm_90: a: spilled_bytes 0 -> 16",
        "gone: sm_90: b",
        "new: sm_90: c",
    ]


def test_figures_are_kept_per_compiler(tmp_path):
    path = tmp_path / "results" / "static.json"
    assert load_static(path, "triton 3.8.0, ptxas 12.9") is None
    store_static(path, "triton 3.8.0, ptxas 12.9", FACTS)
    store_static(path, "triton 3.9.0, ptxas 13.0", {})
    assert load_static(path, "triton 3.8.0, ptxas 12.9") == FACTS
    assert load_static(path, "triton 3.7.0, ptxas 12.9") is None


@pytest.mark.parametrize("text", ["", "[]", "{"])
def test_a_file_that_holds_no_figures_is_refused(text, tmp_path):
    path = tmp_path / "static.json"
    path.write_text(text)
    with pytest.raises(UnreadableError, match=r"static\.json"):
        load_static(path, "triton 3.8.0, ptxas 12.9")
