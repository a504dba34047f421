"""The static gate: any moved figure is named, within one compiler, until it is accepted."""

import pytest

from xaimed_reports.profile.static import load_static, static_changes, static_summary, store_static
from xaimed_reports.store.jsonform import UnreadableError

COMPILER = "triton 3.8.0, ptxas 12.9"
FOUND = {
    "a[fp32]": {
        "sm_75": {"registers": 32, "fma": 10, "global_load_128": 4},
        "sm_90": {"registers": 40, "spilled_bytes": 8, "fma": 10, "global_load_128": 4},
    },
    "b[bf16]": {"sm_90": {"registers": 24, "global_load_32": 2}},
}


def changed(kernel, target, **figures):
    rows = {k: {t: dict(f) for t, f in rows.items()} for k, rows in FOUND.items()}
    rows[kernel][target] |= figures
    return rows


def test_equal_figures_are_no_change():
    assert static_changes(FOUND, dict(reversed(FOUND.items()))) == []


def test_a_moved_figure_names_kernel_target_figure_before_and_after():
    now = changed("a[fp32]", "sm_75", global_load_128=0, global_load_32=16, spilled_bytes=16)
    assert static_changes(FOUND, now) == [
        "changed: a[fp32] on sm_75: global_load_128 4 -> 0, global_load_32 0 -> 16, spilled_bytes 0 -> 16"
    ]


def test_kernels_that_came_or_went_are_named_unless_only_some_were_compiled():
    now = {"a[fp32]": FOUND["a[fp32]"], "c[fp16]": {"sm_90": {"registers": 8}}}
    assert static_changes(FOUND, now) == ["gone: b[bf16] on sm_90", "new: c[fp16] on sm_90"]
    assert static_changes(FOUND, now, whole=False) == ["new: c[fp16] on sm_90"]


def test_the_summary_lists_spills_and_the_most_registers():
    assert static_summary(FOUND) == [
        "1 of 2 configurations spill registers on some target",
        "- a[fp32]: 8 bytes on sm_90",
        "most registers of a thread",
        "- a[fp32]: 40 on sm_90",
        "- b[bf16]: 24 on sm_90",
    ]


def test_figures_are_kept_per_compiler_in_a_stable_order(tmp_path):
    path = tmp_path / "results" / "static.json"
    assert load_static(path, COMPILER) is None
    store_static(path, COMPILER, FOUND)
    store_static(path, "triton 3.9.0, ptxas 13.0", {})
    assert load_static(path, COMPILER) == FOUND
    assert load_static(path, "triton 3.7.0, ptxas 12.9") is None
    text = path.read_text()
    store_static(path, COMPILER, dict(reversed(FOUND.items())))
    assert path.read_text() == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        f'{{"{COMPILER}": 3}}',
        f'{{"{COMPILER}": {{"figures": ["a"], "kernels": {{"k": {{"t": []}}}}}}}}',
    ],
)
def test_a_file_that_holds_no_figures_is_refused(text, tmp_path):
    path = tmp_path / "static.json"
    path.write_text(text)
    with pytest.raises(UnreadableError, match=r"static\.json"):
        load_static(path, COMPILER)
