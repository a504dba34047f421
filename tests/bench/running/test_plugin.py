"""The plugin measures in anyone's project, and is not noticed where nothing is measured."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xaimed_bench.measure import PROFILES
from xaimed_bench.running.alternate import gate_process
from xaimed_bench.running.declared import OPTIONS
from xaimed_bench.running.order import need_apart
from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.load import load

ROOT = Path(__file__).parents[3]
FOREIGN = """
import sys, warnings, pytest

def pytest_addoption(parser):
    for name in ("--profile", "--device", "--data", "--resume"):
        parser.addoption(name, default="mine")

@pytest.fixture
def measure():
    return "mine"
"""
PLAIN = """
import sys

def test_nothing_of_xaimed_is_noticed(measure, pytestconfig):
    assert measure == "mine"
    assert pytestconfig.getoption("--profile") == "mine"
    heavy = {"torch", "numpy", "scipy", "msgspec", "rich", "xaimed_bench.running.measuring"}
    assert "xaimed_bench.running.plugin" in sys.modules
    assert not heavy & set(sys.modules)
"""
BENCH = """
import warnings, pytest, torch

@pytest.mark.parametrize("kind", ["good", "bad"])
def bench_doubling(measure, kind):
    values = torch.linspace(0, 1, 128).reshape(2, 8, 8)
    def ours():
        warnings.warn("measured code may warn")
        return values * 2 + (kind == "bad")
    measure(ours, against=lambda: values + values, what="the other 1.0", forward=values.sum, images=2, allowed=1e-6)

def bench_of_another_kind(benchmark):
    benchmark(sum, range(10))
"""
SETTINGS = '[tool.pytest.ini_options]\npython_files = ["bench_*.py", "test_*.py"]\n'
SETTINGS += 'python_functions = ["bench_*", "test_*"]\nfilterwarnings = ["error"]\n'


@pytest.fixture
def foreign(tmp_path):
    """Runs pytest in a project of its own, where an installed xaimed would have brought the plugin."""
    (tmp_path / "pyproject.toml").write_text(SETTINGS)

    def run(*words, **files):
        for name, text in files.items():
            (tmp_path / f"{name}.py").write_text(text)
        paths = os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "reports", "bench"))
        alone = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
        settings = {**alone, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:xaimed"]
        command += ["-p", "xaimed_bench.running.plugin", *words]
        return subprocess.run(
            command, cwd=tmp_path, env=settings, capture_output=True, text=True, check=False
        )

    return run


def test_a_run_that_does_not_measure_is_left_as_it_is(foreign):
    done = foreign("test_plain.py", "--benchmark-disable", conftest=FOREIGN, test_plain=PLAIN)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "xaimed" not in done.stdout
    assert foreign("missing.py").returncode == pytest.ExitCode.USAGE_ERROR, "as without the plugin"


def test_anyones_bench_is_measured_beside_benchmarks_of_another_kind(foreign, tmp_path):
    done = foreign("--xaimed-profile", "gate", "--benchmark-json=out.json", bench_mine=BENCH)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 failed, 3 passed, 1 skipped" in done.stdout
    assert "Next: xaimed report out.json" in done.stdout
    rows = {(row.case.axes["kind"], row.impl): row.status for row in load(tmp_path / "out.json").rows}
    assert rows == {
        ("good", "ours"): "ok",
        ("good", "reference"): "ok",
        ("bad", "ours"): "wrong",
        ("bad", "reference"): "skipped",
    }
    names = [b["name"] for b in json.loads((tmp_path / "out.json").read_text())["benchmarks"]]
    assert "bench_of_another_kind" in names
    assert (tmp_path / "out.journal.jsonl").exists()
    assert not (tmp_path / "out.json.part").exists()


@pytest.mark.parametrize(
    ("words", "bench", "says"),
    [
        (["--xaimed-device", "nothing"], BENCH, "--xaimed-device nothing: give cpu"),
        ([], BENCH.replace('"bad"]', "3]"), "parametrise with short strings only, kind is no string"),
        (["-p", "no:benchmark"], BENCH, "measure writes its rows by pytest-benchmark"),
    ],
)
def test_what_cannot_be_measured_is_one_line_and_exit_code_2(words, bench, says, foreign):
    done = foreign(*words, bench_mine=bench)
    assert done.returncode == 2, done.stdout + done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("ERROR: ")
    assert says in line


def test_workers_of_xdist_write_no_part_of_the_rows_over_a_whole_run(foreign, tmp_path):
    """They check, as pytest-benchmark times nothing beside another process."""
    (tmp_path / "out.json").write_text("measured before")
    done = foreign("--benchmark-json=out.json", "-n2", bench_mine=BENCH)
    assert "1 failed, 3 passed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "out.json").read_text() == "measured before"
    assert not list(tmp_path.glob("out.*.*"))


def test_two_benches_of_one_name_are_refused():
    need_apart([("x[a]", "one.py::bench_x"), ("x[a]", "one.py::bench_x"), ("y[a]", "two.py::bench_y")])
    with pytest.raises(UnusableError, match=r"one\.py::bench_x and two\.py::bench_x are both called"):
        need_apart([("x[a]", "one.py::bench_x"), ("x[a]", "two.py::bench_x")])


def test_help_names_every_profile():
    assert [name for name in PROFILES if name not in OPTIONS["profile"]["help"]] == []


OLD_CONFTEST = """
import json

def pytest_addoption(parser):
    parser.addoption("--profile")

def pytest_benchmark_update_json(config, output_json):
    assert config.option.profile == "gate"
    output_json.clear()
    with open({golden!r}) as stored:
        output_json.update(json.load(stored))
"""


def test_a_tree_of_xaimed_older_than_its_plugin_measures_by_itself(tmp_path, monkeypatch):
    """Its packages come before those of today, which today's plugin needs."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)  # pytest-benchmark would take no time
    tree = tmp_path / "old"
    for name in ("xaimed_core/__init__.py", "bench/conftest.py", "reports/xaimed_reports/__init__.py"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).touch()
    (tree / "pytest.ini").write_text("[pytest]\npython_files = bench_*.py\n")
    golden = ROOT / "tests/reports/golden/schema-2.json"
    (tree / "bench/conftest.py").write_text(OLD_CONFTEST.format(golden=str(golden)))
    (tree / "bench/bench_cam.py").write_text("def test_it(benchmark):\n    benchmark(print)\n")
    run = gate_process(tree, tmp_path / "r.json", name="base")
    assert run == load(golden)
