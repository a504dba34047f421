"""What can be chosen in a run of `pytest bench`, and what is refused before it measures."""

import argparse

import pytest
import torch

from xaimed_bench.bench_options import need_usable
from xaimed_reports.store.jsonform import UnusableError

MODEL = """
import pytest

@pytest.mark.parametrize("model", ["resnet18"])
def bench_explaining(measure, model):
    pytest.fail("measured")
"""


def test_disabled_benchmarks_are_checked_and_not_timed(bench):
    done = bench("--benchmark-disable", "--benchmark-json=none.json")
    assert "2 failed, 4 passed, 4 skipped" in done.stdout
    assert "checked, not timed" in done.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--device", "cuda:99"], "--device cuda:99: give cpu"),
        (["--device", "nothing"], "--device nothing: give cpu"),
        (["--data", "none"], "--data: no folder at none"),
        (["--data", "pyproject.toml"], "--data: pyproject.toml is a file"),
        (["--data", "bench"], "--data: no image in bench"),
        (["--checkpoint", "none.pt"], "--checkpoint: no checkpoint at none.pt"),
        (["--checkpoint", "pyproject.toml"], "--checkpoint: pyproject.toml is text (it begins"),
        (["--checkpoint", "empty.pt"], "--checkpoint, for resnet18 (choose other benches with -k)"),
        (["--extra-work", "doing it[good]"], "give KEY=SHARE"),
        (["--extra-work", "doing it[good]=nan"], "give KEY=SHARE"),
        (["--journal", "bench"], "--journal: bench is a folder"),
        (["--benchmark-json", "bench"], "--benchmark-json: bench is a folder"),
        (["--benchmark-json", "pyproject.toml/x.json"], "pyproject.toml"),
        (["--profile", "slow"], "--profile slow: give quick, full, gate"),
        (["--only-case", "doing it[none]"], "--only-case doing it[none]: no case is called so"),
    ],
)
def test_options_that_cannot_be_used_end_the_run_in_one_line_before_it_measures(words, says, bench):
    (bench.folder / "bench/bench_model.py").write_text(MODEL)
    torch.save({"fc.weight": torch.zeros(2, 512)}, bench.folder / "empty.pt")
    (bench.folder / "calls").write_text("")
    done = bench(*words)
    (bench.folder / "bench/bench_model.py").unlink()
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = (line for line in done.stderr.splitlines() if line.strip())
    assert line.startswith("ERROR: ")
    assert says in line
    assert (bench.folder / "calls").read_text() == ""


def test_cases_can_be_chosen_and_shuffled(bench):
    done = bench("--only-case", "doing it[good]", "--benchmark-json=one.json")
    assert "2 passed, 8 deselected" in done.stdout
    orders = [bench("--shuffle", seed, "--benchmark-disable", "-v").stdout for seed in ("1", "2")]
    first = [
        [line.split("-")[1] for line in o.splitlines() if "[ours-" in line and "::" in line] for o in orders
    ]
    assert first[0] != first[1]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"budget": "0"}, "--budget 0: give seconds"),
        ({"budget": "-5"}, "--budget -5: give seconds"),
        ({"budget": "nan"}, "--budget nan: give seconds"),
        ({"shuffle": "-1"}, "--shuffle -1: give a seed"),
        ({"shuffle": "x"}, "--shuffle x: give a seed"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused(change, says):
    given = dict.fromkeys(("device", "data", "checkpoint", "budget", "shuffle", "journal"))
    option = argparse.Namespace(**{**given, "profile": "quick", "extra_work": [], **change})
    with pytest.raises(UnusableError, match=says):
        need_usable(option)
