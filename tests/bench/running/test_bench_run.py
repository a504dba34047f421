"""A whole run of `pytest bench` on a toy question: rows, JSON, journal, crash, resume, privacy."""

import getpass
import json
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xaimed_reports.store.journal import recover
from xaimed_reports.store.jsonform import from_json
from xaimed_reports.store.load import load, pictures_path
from xaimed_reports.store.records import SCHEMA, Timing
from xaimed_reports.store.rows import Timed
from xaimed_reports.store.writing import Held


@pytest.fixture(scope="module")
def finished(bench):
    done = bench("--benchmark-json=out.json")
    assert (bench.folder / "out.json").exists(), done.stdout + done.stderr
    return done, bench.folder / "out.json"


def test_every_case_has_its_status_and_right_ones_their_times(finished):
    rows = {(r.case.axes["kind"], r.impl): r for r in load(finished[1]).rows}
    status = {key: row.status for key, row in rows.items()}
    assert status == {
        ("good", "ours"): "ok",
        ("good", "reference"): "ok",
        ("last", "ours"): "ok",
        ("last", "reference"): "ok",
        ("wrong", "ours"): "wrong",
        ("wrong", "reference"): "skipped",
        ("flat", "ours"): "degenerate",
        ("flat", "reference"): "degenerate",
        ("broken", "ours"): "failed",
        ("broken", "reference"): "skipped",
    }
    assert all(isinstance(row, Timed) == (row.status == "ok") for row in rows.values())
    assert rows["broken", "ours"].reason == "ValueError: it broke"


def test_wrong_and_failed_cases_fail_the_run_and_degenerate_ones_are_skipped(finished):
    assert finished[0].returncode == 1
    assert "2 failed, 4 passed, 4 skipped" in finished[0].stdout


def test_the_json_is_pytest_benchmarks_own_with_a_row_for_each_side(finished):
    data = json.loads(finished[1].read_text())
    assert {b["params"]["impl"] for b in data["benchmarks"]} == {"ours", "reference"}
    for benchmark in data["benchmarks"]:
        row = benchmark["extra_info"]["xaimed"]
        assert row["schema"] == SCHEMA
        counted = from_json(Timing, row["timing"]).counted
        assert benchmark["stats"]["data"] == [wall_s for _, wall_s in counted]
        assert benchmark["options"]["timer"].endswith("replayed_samples")


def test_pytest_benchmark_compares_it(finished):
    tool = Path(sys.executable).parent / "pytest-benchmark"
    done = subprocess.run([tool, "compare", finished[1]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bench_doing_it[ours-good]" in done.stdout
    assert "bench_doing_it[reference-good]" in done.stdout


def test_the_closing_table_and_sentences_are_printed(finished):
    said = finished[0].stdout
    assert "case 1 of 5" in said
    assert "times faster" in said
    assert "of 2 timed cases" in said
    assert "Next: xaimed report" in said


def test_results_hold_no_host_user_or_path(finished):
    text = finished[1].read_text() + finished[1].with_suffix(".journal.jsonl").read_text()
    data = json.loads(finished[1].read_text())
    assert data["machine_info"]["node"] == ""
    assert str(finished[1].parent) not in text
    assert str(Path.home()) not in text
    for private in (platform.node(), getpass.getuser()):
        assert f'"{private}"' not in text


def test_pictures_lie_beside_the_json(finished):
    assert pictures_path(finished[1]).exists()


def test_one_interleaved_measurement_serves_both_rows(finished, bench):
    rows = [r for r in load(finished[1]).rows if r.case.axes["kind"] == "good"]
    assert rows[0].timing.block == rows[1].timing.block or len(rows[0].timing.wall_s) != len(
        rows[1].timing.wall_s
    )
    assert rows[0].forward == rows[1].forward
    assert rows[0].conditions == rows[1].conditions


def test_a_crash_loses_no_finished_case_and_the_one_it_was_in_is_tried_once_more(bench):
    path = bench.folder / "crash.json"
    assert bench(f"--benchmark-json={path}", DIE="1").returncode == 9
    assert not path.exists()
    left = recover(path.with_suffix(".journal.jsonl").read_text())
    assert {r.case.axes["kind"] for r in left.run.rows} == {"good", "wrong", "flat", "broken"}
    assert left.killed == {"doing it[last]": 1}
    assert bench(f"--benchmark-json={path}", "--resume", DIE="1").returncode == 9
    (bench.folder / "calls").write_text("")
    done = bench(f"--benchmark-json={path}", "--resume")
    rows = {(r.case.axes["kind"], r.impl): r for r in load(path).rows}
    assert (bench.folder / "calls").read_text() == "", done.stdout
    assert rows["good", "ours"].timing == next(r.timing for r in left.run.rows if r.status == "ok")
    assert "not tried again" in rows["last", "ours"].reason
    with np.load(pictures_path(path)) as pictures:
        assert "doing it[good]/map" in pictures.files


def test_sigterm_ends_a_run_as_ctrl_c_does(bench):
    """What was measured is stored, and a resumed run measures the case that it ended."""
    path = bench.folder / "term.json"
    assert bench(f"--benchmark-json={path}", ENDED="1").returncode == 2
    assert {r.case.axes["kind"] for r in load(path).rows} == {"good", "wrong", "flat", "broken"}
    bench(f"--benchmark-json={path}", "--resume")
    assert {r.status for r in load(path).rows if r.case.axes["kind"] == "last"} == {"ok"}


def test_of_two_runs_with_one_output_the_second_is_refused(bench):
    for held in ("held.json.part", "held.journal.jsonl"):
        with Held(bench.folder / held):
            done = bench("--benchmark-json=held.json")
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert f"ERROR: {held}: another run is writing it" in line


def test_a_full_disk_ends_the_run_in_one_line(bench):
    done = bench("--benchmark-json=full.json", FULL="1")
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line]
    assert lines
    assert set(lines) == {
        "ERROR: File too large: the run ends here; --resume goes on with what full.journal.jsonl holds"
    }
    assert "Traceback" not in done.stdout
    kept = load(bench.folder / "full.journal.jsonl").rows
    assert {r.case.axes["kind"] for r in kept} == {"good", "wrong", "flat", "broken"}
    assert not (bench.folder / "full.json").exists()


def test_a_run_that_ends_early_names_what_it_left_out(bench):
    done = bench("--benchmark-json=early.json", "--budget", "1", SLEEP="0.3")
    assert "left at most" in done.stdout
    rows = load(bench.folder / "early.json").rows
    assert [
        r.reason for r in rows if "no time left: --resume measures it" in (getattr(r, "reason", "") or "")
    ]
    assert "cases; " in done.stdout
    done = bench("--benchmark-json=early.json", "--resume")
    assert "measured 5 of 5 cases" in done.stdout


def test_resume_refuses_what_another_profile_measured(bench, finished):
    done = bench("--benchmark-json=out.json", "--resume", "--profile", "quick")
    assert done.returncode == 2
    assert "has another profile" in done.stderr + done.stdout
    assert list(bench.folder.glob("*.part")) == []
