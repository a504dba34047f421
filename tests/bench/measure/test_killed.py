"""Whatever ends a process, and whenever: nothing that was finished is lost, and nothing is there twice."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from xaimed_reports.store.journal import Journal, recover
from xaimed_reports.store.jsonform import UnreadableError, UnusableError
from xaimed_reports.store.load import load
from xaimed_reports.store.writing import Held, aside, write_whole

ROOT = Path(__file__).parents[3]


def test_kills_at_random_moments_lose_nothing():
    command = [sys.executable, ROOT / "tests/bench/measure/kill_at_random.py", "--kills", "8"]
    paths = os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "reports", "bench"))
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 8
    assert [found[name] for name in ("lost", "twice", "half", "missing")] == [0, 0, 0, 0]


@pytest.fixture
def begun(make_run, tmp_path):
    """A journal of a run that has begun."""
    with closing(Journal(tmp_path / "x.journal.jsonl")) as journal:
        journal.start(make_run())
        yield journal


def test_a_case_counts_only_with_its_end(begun, make_rows):
    ours, reference = make_rows("1")
    begun.begin(ours.case.key)
    begun.add(ours)
    found = recover(begun.path.read_text())
    assert (found.run.rows, found.killed) == ((), {ours.case.key: 1})
    begun.add(reference)
    begun.end(ours.case.key)
    found = recover(begun.path.read_text())
    assert (found.run.rows, found.killed) == ((ours, reference), {})


def test_going_on_keeps_what_was_finished_and_drops_a_line_cut_short(begun, make_rows):
    for name in "12":
        begun.begin(make_rows(name)[0].case.key)
        for row in make_rows(name):
            begun.add(row)
        begun.end(make_rows(name)[0].case.key)
    whole = begun.path.read_bytes()
    rows = load(begun.path).rows
    begun.close()
    for cut in range(whole.rindex(b'{"end"') - 200, len(whole)):
        begun.path.write_bytes(whole[:cut])
        with closing(Journal(begun.path)) as again:
            again.go_on(recover(begun.path.read_text()))
            kept = load(begun.path).rows
            assert kept == (rows if cut >= len(whole) - 1 else rows[:2])
            again.begin("another")
        assert recover(begun.path.read_text()).killed["another"] == 1


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"end": "toy[1]"}'], "line 2.end: 'toy[1]' ends without rows"),
        (["ROW", "ROW", '{"end": "toy[1]"}', "ROW", '{"end": "toy[1]"}'], "ends twice"),
        (["ROW", '{"end": "toy[2]"}'], "'toy[2]' ends without rows of its own"),
        (["nonsense", "ROW"], "line 2: not JSON"),
        (["7", "ROW"], "line 2: not an object"),
    ],
)
def test_a_journal_that_nobody_wrote_so_is_refused(lines, said, begun, make_rows):
    begun.add(make_rows("1")[0])
    head, row = begun.path.read_text().splitlines()
    text = "\n".join([head, *(row if line == "ROW" else line for line in lines)])
    with pytest.raises(UnreadableError) as caught:
        recover(text)
    assert said in str(caught.value)


def test_a_journal_of_a_later_format_is_refused(begun):
    text = begun.path.read_text()
    for written in ("3", "true", '"2"', "0"):
        with pytest.raises(UnreadableError, match="upgrade it"):
            recover(text.replace('"journal": 2', f'"journal": {written}'))


def test_every_row_of_the_first_format_counts(begun, make_rows):
    for row in make_rows("1"):
        begun.add(row)
    text = begun.path.read_text().replace(', "journal": 2', "")
    assert recover(text).run.rows == make_rows("1")


def test_the_second_of_two_writers_is_refused_until_the_first_one_ends(begun):
    with pytest.raises(UnusableError, match=r"^x.journal.jsonl: another run is writing it"):
        Journal(begun.path)
    begun.close()
    Journal(begun.path).close()


def test_a_lock_dies_with_its_process(tmp_path):
    """By the kernel: there is no file that a kill could leave behind."""
    path = tmp_path / "out.json"
    code = (
        "import sys, time; from pathlib import Path; from xaimed_reports.store.writing import Held\n"
        "held = Held(Path(sys.argv[1])); print('held', flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "reports")}
    with subprocess.Popen(
        [sys.executable, "-c", code, path], stdout=subprocess.PIPE, env=environment
    ) as other:
        assert other.stdout.readline() == b"held\n"
        with pytest.raises(UnusableError, match="another run"):
            Held(path)
        other.kill()
    Held(path).close()
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_a_file_is_whole_or_as_it_was(tmp_path):
    path = tmp_path / "new/report.html"
    write_whole(path, "old")
    with pytest.raises(RuntimeError), aside(path) as beside:  # noqa: PT012
        beside.write_text("half of the new")
        raise RuntimeError
    assert path.read_text() == "old\n"
    link = tmp_path / "link.html"
    link.symlink_to(path)
    write_whole(link, "new")
    assert (link.is_symlink(), path.read_text()) == (True, "new\n")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["link.html", "new", "report.html"]
