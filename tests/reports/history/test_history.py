"""The history keeps every run whole, whatever ends a process, and its check finds steps and little else."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from xaimed_reports.history.changes import change_points
from xaimed_reports.history.judge import RECENT, beyond, check
from xaimed_reports.history.page import page
from xaimed_reports.history.points import Entry, Point, entry
from xaimed_reports.history.series import series
from xaimed_reports.history.store import Stored, add, faults, read
from xaimed_reports.history.words import sentences
from xaimed_reports.store.jsonform import UnreadableError, UnusableError

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


def simulated(rng, n=100, *, step=0.0, at=None, noise=0.01):
    """Times with noise of 1 %, a drift of up to 3 %, and a run in a hundred disturbed by 5 to 40 %."""
    x = 1.2 * np.exp(rng.normal(scale=noise, size=n) + np.linspace(0, rng.uniform(-0.03, 0.03), n))
    disturbed = rng.random(n) < 0.01
    x[disturbed] *= 1 + rng.uniform(0.05, 0.4, disturbed.sum())
    if at is not None:
        x[at:] *= 1 + step
    return [float(value) for value in x]


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


def test_killed_at_any_moment_a_writer_loses_nothing_that_it_said_was_kept(tmp_path) -> None:
    rng = np.random.default_rng(0)
    file = tmp_path / "h.sqlite"
    said: set[int] = set()
    for k in range(5):
        with writer(file, 1000 * k, 500) as process:
            assert process.stdout is not None
            said.add(int(process.stdout.readline()))
            time.sleep(float(rng.uniform(0, 0.2)))
            process.send_signal(signal.SIGKILL)
            said |= {int(line) for line in process.stdout.read().split()}
    kept = [int(stored.entry.revision, 16) for stored in read(file)]
    assert said <= set(kept)
    assert len(kept) == len(set(kept)) <= len(said) + 5
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
    """At each of their last 91 runs, 1,000 histories without a step; then as many with one of 10 % and of 5 %."""
    rng = np.random.default_rng(0)
    count, at = 1000, 60
    alarms = ten = five = 0
    for _ in range(count):
        x = simulated(rng)
        alarms += any(beyond(x[:k], 0.03) for k in range(10, 101))
        x = simulated(rng, step=0.10, at=at)
        ten += any((found := beyond(x[:k], 0.03)) and found[0] > 1 for k in (at + 1, at + RECENT))
        x = simulated(rng, step=0.05, at=at)
        five += any((found := beyond(x[:k], 0.03)) and found[0] > 1 for k in range(at + 1, at + 6))
    print(f"alarms {alarms}, 10 % found within two runs {ten}, 5 % within five {five}, each of {count}")
    assert alarms <= 0.01 * count
    assert ten >= 0.95 * count
    assert five >= 0.80 * count


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
    x = simulated(rng, 90, noise=0.005)
    x = [value * (1.1 if i >= 60 else 1.0) for i, value in enumerate(x)]
    assert change_points(x) == [60]
    assert sum(bool(change_points(simulated(rng, 60, noise=0.005))) for _ in range(50)) <= 2


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
