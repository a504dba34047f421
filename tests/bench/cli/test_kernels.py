"""`xaimed kernels`: a case emulated, and counts that are gated once they were accepted."""

import pytest

from xaimed_bench.cli import main
from xaimed_bench.profile.predicted import counts as counting
from xaimed_bench.profile.predicted.counts import counted_cases, one_image
from xaimed_kernels.operations import OPERATIONS

CASE = "weighted_map 2x37x7x7-n-c"


def test_every_case_is_listed_under_the_name_that_runs_it(capsys):
    assert main(["kernels"]) == 0
    assert capsys.readouterr().out.count("\n") == sum(len(operation.cases) for operation in OPERATIONS)
    assert main(["kernels"]) == 0
    assert f'"{CASE}"' in capsys.readouterr().out


@pytest.mark.ptx
def test_a_case_shows_its_error_faults_and_counts(capsys):
    assert main(["kernels", CASE]) == 0
    said = capsys.readouterr().out
    assert "no fault" in said
    assert "weighted_map_kernel: " in said
    assert "thread-instructions a value" in said


@pytest.mark.ptx
def test_a_wrong_result_is_a_finding(monkeypatch, capsys):
    monkeypatch.setattr("xaimed_bench.cli.kernels.TOLERATED", 0.0)
    assert main(["kernels", CASE]) == 1


@pytest.mark.ptx
def test_counts_are_the_same_each_time_and_gated_exactly(monkeypatch, tmp_path, capsys):
    name = next(name for name in counted_cases("weighted_map") if "7x7-n-c" in name)
    only = counted_cases(name)
    monkeypatch.setattr(counting, "counted_cases", lambda wanted=None: only if wanted in (None, name) else {})
    words = ["kernels", "--counts", "--out", str(tmp_path)]
    assert main(words) == 2
    assert main([*words, "--accept"]) == 0
    assert main(words) == 0
    assert main([*words, "--only", name]) == 0
    assert main([*words, "--only", "nothing"]) == 2
    stored = tmp_path / "counts.json"
    row = counting.count_all(only)[name]["weighted_map_kernel"]
    stored.write_text(stored.read_text().replace(str(row["warp_instructions"]), "1"))
    capsys.readouterr()
    assert main(words) == 1
    changed = f"changed: {name} on weighted_map_kernel: "
    assert f"{changed}warp_instructions 1 -> {row['warp_instructions']}" in capsys.readouterr().out


def test_the_first_image_gets_its_share_of_the_device():
    """So that sums are split as they are for the whole batch."""
    for _, case in counted_cases().values():
        one, device = one_image(case)
        whole = len(case.make("meta")[0])
        assert len(one.make("meta")[0]) == 1
        assert abs(device.multiprocessors * whole - 132) <= max(132, whole) / 2
