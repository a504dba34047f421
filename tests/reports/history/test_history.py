"""The history keeps every run whole, whatever ends a process, and its check finds steps and little else."""

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from msgspec import structs

from xaimed_reports.history.changes import change_points
from xaimed_reports.history.judge import check
from xaimed_reports.history.page import page
from xaimed_reports.history.points import Entry, Point, entry
from xaimed_reports.history.series import series
from xaimed_reports.history.store import Stored, add, faults, read
from xaimed_reports.history.words import sentences
from xaimed_reports.store.jsonform import UnreadableError, UnusableError
from xaimed_reports.store.rows import Timed

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
ROW = "explaining[xgradcam]"


def made(i: int, time_s: float = 1.1, forward: float = 0.1, figures: str = "", **environment: str) -> Entry:
    around = {"CPU": "a", "threads": "2", "torch": "2.14.1", **environment}
    points = (
        Point(ROW, "forward", forward, forward, forward, 1),
        Point(ROW, "time", time_s, time_s * 0.99, time_s * 1.01, 1),
    )
    return Entry(
        f"{i:012x}", f"2026-01-01T00:{i // 60:02}:{i % 60:02}", "a, 2 threads", around, points, (), figures
    )


def history(*entries: Entry) -> tuple[Stored, ...]:
    return tuple(Stored(i + 1, each, each.digest) for i, each in enumerate(entries))


def said_by(script: str, *words: str):
    """What a script beside this file prints as JSON."""
    done = subprocess.run(
        [sys.executable, str(HERE / script), *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_run_comes_back_as_it_was_added(tmp_path, pair) -> None:
    file = tmp_path / "folder/h.sqlite"
    new = entry(pair)
    assert add(file, new) == 1
    (stored,) = read(file)
    assert stored.entry == new
    assert {(p.metric, p.value) for p in new.points} >= {("memory", 100 * 2**20), ("difference", 2e-6)}
    assert [each.status for each in new.broken] == ["wrong"]
    assert faults(file) == []


def test_the_same_run_is_kept_once(tmp_path) -> None:
    file = tmp_path / "h.sqlite"
    assert [add(file, made(0)), add(file, made(0)), add(file, made(1))] == [1, None, 2]


def test_nothing_is_changed_or_deleted(tmp_path) -> None:
    file = tmp_path / "h.sqlite"
    add(file, made(0))
    for statement in ("UPDATE points SET value = 0", "DELETE FROM runs"):
        with sqlite3.connect(file) as db, pytest.raises(sqlite3.IntegrityError, match="only grows"):
            db.execute(statement)


def test_a_value_changed_behind_its_back_is_named(tmp_path) -> None:
    file = tmp_path / "h.sqlite"
    add(file, made(0))
    with sqlite3.connect(file) as db:
        db.execute("DROP TRIGGER points_UPDATE")
        db.execute("UPDATE points SET value = 0.5 WHERE metric = 'time'")
    assert faults(file) == ["run 1 (2026-01-01T00:00:00) is not what was added"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no history of xaimed"),
        (b"{}" * 600, "not a history"),
        (b"SQLite format 3\0" + b"x" * 2000, "not a history"),
    ],
)
def test_other_files_are_refused(tmp_path, content, said) -> None:
    file = tmp_path / "h.sqlite"
    file.write_bytes(content)
    with pytest.raises((UnreadableError, UnusableError), match=said):
        read(file)


def test_a_newer_format_and_another_programs_database_are_refused(tmp_path) -> None:
    file = tmp_path / "h.sqlite"
    add(file, made(0))
    with sqlite3.connect(file) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(UnreadableError, match="newer xaimed"):
        add(file, made(1))
    other = tmp_path / "o.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE x (y)")
    for use in (lambda: read(other), lambda: add(other, made(0))):
        with pytest.raises(UnreadableError, match="no history of xaimed"):
            use()


WRITER = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from test_history import made
from xaimed_reports.history.store import add
for i in range({first}, {first} + {count}):
    add(Path({file!r}), made(i))
    print(i, flush=True)
"""


def writer(file, first, count) -> subprocess.Popen[str]:
    path = [os.path.dirname(__file__), *sys.path]
    code = WRITER.format(path=path, file=str(file), first=first, count=count)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_two_writers_lose_nothing(tmp_path) -> None:
    file = tmp_path / "h.sqlite"
    with writer(file, 0, 40) as one, writer(file, 1000, 40) as other:
        for process in (one, other):
            process.communicate(timeout=60)
            assert process.returncode == 0
    assert len(read(file)) == 80
    assert faults(file) == []


@pytest.mark.parametrize("kills", ["8", pytest.param("50", marks=pytest.mark.nightly)])
def test_kills_at_random_moments_of_adding_lose_nothing(kills) -> None:
    found = said_by("kill_at_random.py", "--kills", kills)
    assert found["kills"] == int(kills)
    assert [found[name] for name in ("lost", "twice", "damaged", "missing")] == [0, 0, 0, 0]


HALF_WRITTEN = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN")
rows = [(1, str(i), "time", 1.0, 1.0, 1.0, 1) for i in range(2000)]
db.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
os._exit(9)
"""


def test_what_a_kill_left_half_written_is_taken_back_by_whoever_reads_first(tmp_path) -> None:
    file = tmp_path / "h.sqlite"
    add(file, made(0))
    before = file.stat().st_size
    subprocess.run([sys.executable, "-c", HALF_WRITTEN, str(file)], check=False)
    assert file.stat().st_size > before
    assert len(read(file)) == 1
    assert faults(file) == []


@pytest.mark.parametrize("changed", ["CPU", "torch", "threads", "GPU", "driver", "triton"])
def test_a_series_breaks_where_the_environment_changes_and_says_so(changed) -> None:
    both = series(history(made(0), made(1), made(2, **{changed: "other"})), "time")
    assert [len(each.points) for each in both] == [2, 1]
    assert both[1].broke.startswith(changed)
    assert "-> other" in both[1].broke


def test_another_definition_of_a_row_breaks_its_series() -> None:
    old, new = made(0), made(1)
    new = replace(new, points=tuple(replace(p, revision=2) for p in new.points))
    assert series(history(old, new), "time")[1].broke == "definition 1 -> 2"


def test_simulated_histories_alarm_rarely_and_show_steps_soon() -> None:
    """The committed result holds what is asked for, and is what a simulation gives; docs/tracking.md quotes it."""
    committed = json.loads((ROOT / "reports/results/history-simulation.json").read_text())
    found = said_by("simulate.py", "--histories", str(committed["histories"]))
    for each in (committed, found):
        ten, five = each["steps"]
        assert each["histories"] == 1000
        assert each["alarmed_without_step"] <= 0.01
        assert (ten["step"], ten["within_runs"], five["step"], five["within_runs"]) == (0.1, 2, 0.05, 5)
        assert ten["found"] >= 0.95
        assert five["found"] >= 0.80
    assert abs(found["alarmed_without_step"] - committed["alarmed_without_step"]) <= 0.002
    page = (ROOT / "docs/tracking.md").read_text()
    quoted = [committed["alarmed_without_step"], *(step["found"] for step in committed["steps"])]
    assert [f"{share:.1%}".replace("%", " %") in page for share in quoted] == [True] * 3


def runs(times, forwards=None, figures=None) -> tuple[Stored, ...]:
    forwards = forwards or [0.1] * len(times)
    figures = figures or [""] * len(times)
    each = zip(times, forwards, figures, strict=True)
    return history(*(made(i, t, f, kernels) for i, (t, f, kernels) in enumerate(each)))


@pytest.mark.parametrize(
    ("forwards", "figures", "cause", "exits"),
    [
        (None, None, "code", True),
        ([0.1] * 12 + [0.12] * 2, None, "machine", False),
        (None, ["a"] * 12 + ["b"] * 2, "kernels", True),
    ],
)
def test_the_cause_is_named_before_the_code_is_blamed(forwards, figures, cause, exits) -> None:
    usual = [1.1 + 0.001 * (i % 3) for i in range(12)]
    found = check(runs([*usual, 1.21, 1.21], forwards, figures))
    (step,) = found.steps
    assert (step.cause, step.before.number, step.first.number) == (cause, 12, 13)
    assert bool(found.findings) is exits
    assert f"since {13 - 1:012x}" in sentences(found)[0]


def test_a_lone_disturbed_run_is_no_step_and_a_gain_is_no_finding() -> None:
    usual = [1.1 + 0.001 * (i % 3) for i in range(12)]
    assert check(runs([*usual, 1.5, 1.1])).steps == ()
    faster = check(runs([*usual, 0.9, 0.9]))
    assert len(faster.steps) == 1
    assert faster.findings == ()


def disturbed(run: Entry) -> Entry:
    points = (replace(p, metric="disturbed") if p.metric == "time" else p for p in run.points)
    return replace(run, points=tuple(points))


def test_a_row_that_something_disturbed_is_kept_and_neither_judged_nor_gone(pair) -> None:
    busy = (
        structs.replace(row, conditions=replace(row.conditions, others_share=0.5))
        if isinstance(row, Timed)
        else row
        for row in pair.rows
    )
    quiet, found = entry(pair), entry(replace(pair, rows=tuple(busy)))
    assert (
        found.points
        == tuple(sorted(disturbed(quiet).points, key=lambda p: (p.row, p.metric)))
        != quiet.points
    )
    usual = [made(i, 1.1 + 0.001 * (i % 3)) for i in range(12)]
    slow = [made(12 + i, 1.21) for i in range(3)]
    assert check(history(*usual, *slow[:2])).findings
    assert not check(history(*usual, slow[0], disturbed(slow[1]))).findings
    assert check(history(*usual, slow[0], disturbed(slow[1]), slow[2])).findings[0].first.number == 13
    last = check(history(*usual, *slow[:2], disturbed(slow[2])))
    assert (last.judged, last.broken, last.disturbed) == ((), (), (ROW,))
    assert sentences(last) == [
        "something disturbed the machine during 1 rows: their times are kept, and not judged",
        "judged 0 of 1 rows of run 15: nothing worse",
    ]


@pytest.mark.parametrize("step", [1.1, 0.9])
def test_a_step_is_dated_to_its_first_run_though_the_series_was_too_short_to_be_judged_then(step) -> None:
    """Ten runs, the least that is judged, with the step from the seventh on."""
    times = [1.1 * (1 + 0.004 * (i % 3)) * (step if i >= 6 else 1) for i in range(10)]
    assert not any(check(runs(times[:k])).steps for k in range(1, 10))
    (found,) = check(runs(times)).steps
    assert (found.before.number, found.first.number) == (6, 7)


def test_a_short_series_is_not_judged_and_says_why() -> None:
    found = check(history(*(made(i) for i in range(20)), made(20, torch="2.15.0")))
    assert found.judged == ()
    assert sentences(found) == [
        "a new series began: torch 2.14.1 -> 2.15.0",
        "1 rows have fewer than 10 runs to compare with, so they are not judged",
        "judged 0 of 1 rows of run 21: nothing worse",
    ]


def test_a_row_that_is_gone_or_wrong_is_found_where_its_bench_ran() -> None:
    two = replace(made(1), points=(*made(1).points, Point("explaining[layercam]", "time", 1, 1, 1, 1)))
    other = replace(made(2), points=(Point("road[x]", "time", 1, 1, 1, 1),))
    assert check(history(two, made(2))).broken == (("explaining[layercam]", "gone"),)
    assert check(history(two, other)).broken == ()


def test_change_points_are_where_the_level_changed() -> None:
    rng = np.random.default_rng(3)

    def level(n):
        return rng.normal(1.2, 0.006, n)

    assert change_points([*level(60), *(1.1 * level(30))]) == [60]
    assert sum(bool(change_points([*level(60)])) for _ in range(50)) <= 2


def test_the_page_holds_all_and_asks_for_nothing() -> None:
    times = [1.1 + 0.001 * (i % 3) + (0.2 if i >= 20 else 0) for i in range(40)]
    found = page((*runs(times), Stored(41, made(41, torch="<script>"), "")))
    assert "<script" not in found
    assert f"<code>{20:012x}</code>: times a forward pass: +18" in found
    assert "a new series begins (torch 2.14.1 -&gt; &lt;script&gt;)" in found
    assert "http" not in found.replace("http-equiv", "").replace("http://www.w3.org", "")


def test_ten_thousand_runs_are_drawn_with_few_marks() -> None:
    long = page(runs([1.1 + 0.001 * (i % 7) for i in range(10_000)]))
    short = page(runs([1.1 + 0.001 * (i % 7) for i in range(400)]))
    assert len(long) < 1.5 * len(short)
