"""The history keeps every run whole, whatever ends a process."""

import os
import random
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from tests.reports.history.made import made, said_by
from xaimed_bench.cli import main
from xaimed_reports.history.points import entry
from xaimed_reports.history.store import add, faults, read
from xaimed_reports.store.jsonform import UnreadableError, UnusableError


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


def test_newest_runs_that_were_removed_show_by_a_head_kept_elsewhere(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    file, verify = tmp_path / "h.sqlite", ["history", "verify", "--file", "h.sqlite"]
    said = []
    for i in range(3):
        add(file, made(i))
        assert main(verify) == 0
        said.append(capsys.readouterr().out.split()[-1])
    assert len({*said}) == 3
    assert [main([*verify, "--head", head]) for head in said] == [0, 0, 0]
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        for table in ("runs", "points"):
            db.execute(f"DROP TRIGGER {table}_DELETE")
        db.execute("DELETE FROM points WHERE run = 3")
        db.execute("DELETE FROM runs WHERE id = 3")
    assert main(verify) == 0
    capsys.readouterr()
    assert [main([*verify, "--head", head]) for head in said] == [0, 0, 1]
    assert "runs were removed" in capsys.readouterr().out
    add(file, made(9))
    assert [main([*verify, "--head", head]) for head in said] == [0, 0, 1]


DAMAGE = [
    "UPDATE points SET value = 0.5 WHERE metric = 'time' AND run = 2",
    "UPDATE points SET low = 1e999 WHERE run = 2",
    "UPDATE points SET metric = 'speed' WHERE metric = 'time' AND run = 2",
    "UPDATE points SET run = 4 WHERE run = 2",
    "DELETE FROM points WHERE run = 2 AND metric = 'time'",
    "DELETE FROM points WHERE run = 2",
    "DELETE FROM runs WHERE id = 2",
    *(
        f"UPDATE runs SET {column} = {value} WHERE id = 2"
        for column in ("environment", "broken")
        for value in ("'3'", "'null'", "'[1]'", "'[[1, 2]]'", "'{}x'", "''", "char(55296)")
    ),
    "UPDATE runs SET environment = '{\"CPU\": [1]}' WHERE id = 2",
    "UPDATE runs SET revision = char(27) || '[31m' WHERE id = 2",
    "UPDATE runs SET started_utc = char(27) || '[31m' WHERE id = 2",
    "PRAGMA user_version = 0",
    "DROP TABLE points",
]
ACTIONS = [["show"], ["check"], ["html", "page.html"], ["export", "points.csv"], ["verify"]]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_run_that_is_not_what_was_added_is_believed_by_no_command(
    damage, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "h.sqlite"
    for i in range(3):
        add(file, made(i))
    with closing(sqlite3.connect(file, isolation_level=None)) as db:
        for name in ("runs_UPDATE", "runs_DELETE", "points_UPDATE", "points_DELETE"):
            db.execute(f"DROP TRIGGER {name}")
        db.execute(damage)
    lost = (
        damage.startswith(("PRAGMA", "DROP")) or "char(55296)" in damage
    )  # no run can be read, none is named
    for words in ACTIONS:
        assert main(["history", *words, "--file", "h.sqlite"]) == (
            1 if words == ["verify"] and not lost else 2
        )
        said = capsys.readouterr()
        assert 1 <= (said.out + said.err).count("\n") <= 2
        assert "\x1b" not in said.out + said.err
    assert not list(tmp_path.glob("p*"))


@pytest.mark.parametrize("seed", range(3))
def test_of_damaged_bytes_a_reader_gets_what_was_added_or_a_refusal(seed, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    file, chance, refused = tmp_path / "h.sqlite", random.Random(seed), 0
    for i in range(12):
        add(file, made(i))
    whole, right = file.read_bytes(), read(file)
    for _ in range(40):
        raw, at = bytearray(whole), chance.randrange(len(whole))
        match chance.randrange(3):
            case 0:
                raw = raw[:at]
            case 1:
                raw[at : at + 512] = bytes(len(raw[at : at + 512]))
            case _:
                for _ in range(chance.choice([1, 20])):
                    raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        file.write_bytes(raw)
        try:
            assert read(file) == right
        except UnusableError:
            refused += 1
        for words in ACTIONS:
            assert main(["history", *words, "--file", "h.sqlite"]) in (0, 1, 2, 3)
    assert refused > 10


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
from made import made
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
