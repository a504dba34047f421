"""Compiling for GPUs that are not here: names that last, figures by class, and the command that gates them."""

import pytest

from xaimed_bench.cli import main
from xaimed_bench.profile import static
from xaimed_bench.profile.static import Job, select_figures, short, target_name
from xaimed_kernels.disassembly import Counts
from xaimed_kernels.offline import TARGETS, CompiledFacts


def test_a_name_does_not_change_with_the_text_of_a_formula():
    first = "k[fp32,formulas=(ratio_3a0a6122b3f6+nested_615d5a5fb8d4),warps=1]"
    assert short(first) == "k[fp32,formulas=(ratio+nested),warps=1]"
    assert short("k[fp32,STEP=restrict,BLOCK=512]") == "k[fp32,STEP=restrict,BLOCK=512]"


def test_targets_are_called_as_their_vendors_do():
    assert [target_name(target) for target in TARGETS[-2:]] == ["sm_120", "gfx942"]


def test_figures_hold_what_a_gate_needs_and_no_zeros():
    counts = Counts({"fma": 3, "global_load": 2, "other": 1}, {32: 1, 128: 1})
    facts = CompiledFacts(40, 0, 1024, counts)
    assert select_figures(facts) == {
        "registers": 40, "shared_bytes": 1024, "instructions": 6, "fma": 3, "global_load": 2, "other": 1,
        "global_load_32": 1, "global_load_128": 1,
    }  # fmt: skip


@pytest.fixture
def compiled(monkeypatch):
    """Two kernels that were compiled already."""
    figures = {"a": {"sm_90": {"registers": 32}}, "b": {"sm_90": {"registers": 40, "spilled_bytes": 8}}}
    monkeypatch.setattr(static, "compiler_name", lambda: "triton 3.8.0, ptxas 12.9")
    monkeypatch.setattr(static, "jobs", lambda only: [Job(k, 90) for k in figures if only in (None, k)])
    monkeypatch.setattr(
        static, "compile_all", lambda wanted: {job.kernel: figures[job.kernel] for job in wanted}
    )
    return figures


def test_figures_are_gated_only_once_they_were_accepted(compiled, tmp_path, capsys):
    words = ["profile", "--static", "--out", str(tmp_path)]
    assert main(words) == 2
    assert main([*words, "--accept"]) == 0
    assert main(words) == 0
    compiled["a"]["sm_90"]["registers"] = 64
    assert main(words) == 1
    assert "changed: a on sm_90: registers 32 -> 64" in capsys.readouterr().out
    assert main([*words, "--only", "b"]) == 0
    assert main([*words, "--accept"]) == 0
    assert main(words) == 0


def test_what_cannot_be_asked_for_is_refused(compiled, tmp_path, capsys):
    words = ["profile", "--out", str(tmp_path)]
    assert main([*words, "--static", "--accept", "--only", "a"]) == 2
    assert main([*words, "--accept"]) == 2
    assert main([*words, "--static", "--accept"]) == 0
    assert main([*words, "--static", "--only", "nothing"]) == 2
    assert "nothing" in capsys.readouterr().err
