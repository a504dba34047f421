"""Exports are what each tool's documentation asks for."""

import csv
import io
import json
from dataclasses import replace
from datetime import datetime

import pytest

from tests.reports.conftest import as_stored, row, run
from xaimed_bench.cli import main
from xaimed_reports.history.export import FORMATS, exported, exported_run
from xaimed_reports.history.points import entry
from xaimed_reports.store.jsonform import UnusableError

NAMES = ("forwards", "peak-memory-bytes", "largest-difference")


@pytest.fixture
def runs():
    """Three runs of two rows, two of them on one machine."""
    made = [
        entry(
            run(
                row(method="a,b"),
                row(method='c"d'),
                started_utc=f"2026-01-0{day}T00:00:00+00:00",
                revision=f"{day:012}",
            )
        )
        for day in (1, 2, 3)
    ]
    return [replace(made[0], environment={**made[0].environment, "torch": "2.13.0"}), *made[1:]]


def test_each_row_gives_a_series_of_forwards_memory_and_fidelity(runs):
    entries = json.loads(exported(runs, "github-action-benchmark"))
    keys = [p.row for p in runs[-1].points if p.metric == "time"]
    assert sorted(e["name"] for e in entries) == sorted(f"{key}: {name}" for key in keys for name in NAMES)
    times = [e["value"] for e in entries if e["name"].endswith("forwards")]
    assert times == [pytest.approx(1.1)] * 2, "multiples of a forward pass, not seconds"


def test_github_action_benchmark_gets_custom_smaller_is_better(runs):
    """Its README: an array of objects with name, unit and value; range and extra are texts that may be there."""
    for made in json.loads(exported(runs, "github-action-benchmark")):
        assert set(made) - {"range", "extra"} == {"name", "unit", "value"}
        assert isinstance(made["value"], int | float)
        assert all(isinstance(made[k], str) for k in set(made) - {"value"})


def test_bencher_gets_its_metric_format(runs):
    """Its JSON schema: benchmark to measure to value, lower_value and upper_value; a measure's name has 64 signs."""
    found = json.loads(exported(runs, "bencher"))
    assert len(found) == 2
    for measures in found.values():
        assert set(measures) == set(NAMES)
        for name, metric in measures.items():
            assert len(name) <= 64
            assert set(metric) - {"lower_value", "upper_value"} == {"value"}
            bounds = metric.get("lower_value", metric["value"]), metric.get("upper_value", metric["value"])
            assert bounds[0] <= metric["value"] <= bounds[1]


def test_otava_gets_a_line_a_run_that_may_be_compared_with_the_newest(runs):
    """As its CsvImporter reads: the default dialect, a time with a zone, and a float in every cell of a metric."""
    lines = list(csv.reader(io.StringIO(exported(runs, "otava"))))
    assert lines[0][:2] == ["time", "commit"]
    assert len(set(lines[0])) == len(lines[0]) == 2 + 2 * len(NAMES)
    assert [line[1] for line in lines[1:]] == ["000000000002", "000000000003"], "another torch is left out"
    for line in lines[1:]:
        assert len(line) == len(lines[0])
        assert datetime.fromisoformat(line[0]).tzinfo is not None
        assert all(float(cell) > 0 for cell in line[2:])


def test_otava_gets_no_empty_cell(runs):
    fewer = replace(runs[1], points=tuple(p for p in runs[1].points if "a,b" in p.row))
    head = exported([fewer, runs[2]], "otava").splitlines()[0]
    assert "a,b" in head
    assert 'c""d' not in head
    none = replace(fewer, points=())
    with pytest.raises(UnusableError, match="no row was measured in all"):
        exported([none, runs[2]], "otava")


def test_a_question_without_a_forward_pass_is_in_seconds():
    found = json.loads(exported_run(run(row(forward=None)), "bencher"))
    assert [set(measures) for measures in found.values()] == [{"seconds", *NAMES[1:]}]


@pytest.mark.parametrize("form", FORMATS)
def test_report_and_history_write_one_and_the_same(form, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps(as_stored(run(row()))))
    assert main(["report", "run.json", "--export", form, "a"]) == 0
    assert main(["history", "add", "run.json"]) == 0
    assert main(["history", "export", "b", "--format", form]) == 0
    assert (tmp_path / "a").read_text() == (tmp_path / "b").read_text() != ""
