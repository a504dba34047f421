"""Whatever a user types, the command line answers in three lines at most, with the right exit code and no traceback."""

import io
import json
import os
import shlex
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from tests.bench.cli.bad_lines import BAD
from xaimed_bench import cli
from xaimed_bench.cli import FAULT, main
from xaimed_bench.profile import static
from xaimed_reports.store.jsonform import UnusableError

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests/reports/golden/schema-2.json"
CARD = ROOT / "reports/results/intel-xeon-2-threads/profile.json"

ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in BAD.strip().splitlines()[1:]]


@pytest.fixture
def at_files(tmp_path, monkeypatch):
    """A folder of files of every kind, as the working directory; no GPU and no repository."""
    run = json.loads(GOLDEN.read_text())
    old = run["xaimed"]
    (at := run["benchmarks"][0]["extra_info"]["xaimed"])["case"]["bench"] = "asking another question"
    other = {**run, "benchmarks": [run["benchmarks"][0]], "xaimed": {**old, "rows": []}}
    halves = {**other, "xaimed": {**old, "rows": [], "profile": "\ud800"}}
    huge = {**other, "xaimed": {**old, "rows": [], "machine": {**old["machine"], "memory_bytes": 10**400}}}
    floor = {"machine": old["machine"], "spread": {at["case"]["bench"]: 0.1}, "runs": {}}
    written = {
        "other": other,
        "norows": {**run, "benchmarks": [], "xaimed": {**old, "rows": []}},
        "future": {**run, "xaimed": {**old, "schema": 99}},
        "halves": halves,
        "huge": huge,
        "list": [],
        "floor": {"floor": floor},
        "bad/search": {"good": 3},
        "broken/static": {"none": {"figures": 3}},
        "broken/counts": {"none": {"figures": 3}},
        "unlike/static": {"none": {"figures": ["fma"], "kernels": {"k": {"sm_90": [1, 2]}}}},
    }
    for folder in ("folder", "runs", "broken", "unlike", "bad"):
        (tmp_path / folder).mkdir()
    for name, data in written.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(data))
    for name in ("nothing.json", "nothing.jsonl", "runs/alike-00.json"):
        (tmp_path / name).touch()
    (tmp_path / "run.json").write_text(GOLDEN.read_text())
    (tmp_path / "card.json").write_text(CARD.read_text())
    (tmp_path / "bytes.json").write_bytes(b"\x89\xff\x00")
    (tmp_path / "deep.json").write_text("[" * 99_999)
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(static, "compiler_name", lambda: "none")
    return tmp_path


def test_the_table_is_long_enough():
    assert len(ROWS) >= 100
    assert {shlex.split(argv)[0] for argv, *_ in ROWS} >= set(cli.COMMANDS)


@pytest.mark.parametrize(("argv", "code", "words"), ROWS, ids=[row[0] for row in ROWS])
def test_bad_input_is_refused_in_three_lines(argv, code, words, at_files, capsys):
    before = {path: path.stat().st_mtime_ns for path in at_files.rglob("*.json")}
    assert main(shlex.split(argv)) == int(code)
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    assert 1 <= said.err.count("\n") <= 3, said.err
    assert said.err.startswith("xaimed")
    missing = [word for word in words.split("; ") if word not in said.err]
    assert not missing, said.err
    assert {path: path.stat().st_mtime_ns for path in before} == before, "a file of the user was changed"


def test_without_triton_nothing_is_compiled(at_files, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert main(["profile", "--static", "--out", "folder"]) == 2
    assert "Triton, which is not installed" in capsys.readouterr().err


def test_a_missing_folder_for_output_is_made(at_files):
    """Chosen over refusing: nothing measured is lost, and a report's page did so before."""
    written = ["new/a.md", "newer/b.json"]
    assert main(["compare", "run.json", "run.json", "--markdown", written[0], "--export", written[1]]) == 1
    assert main(["report", "run.json", "--markdown", "newest/c.md", "--html", "newest/d.html"]) == 0
    assert all((at_files / name).stat().st_size for name in (*written, "newest/c.md", "newest/d.html"))


def test_a_target_that_cannot_be_written_is_refused_before_anything_is_measured(
    at_files, monkeypatch, capsys
):
    from xaimed_bench.running import alternate

    monkeypatch.setattr(
        alternate.Alternation, "__enter__", lambda self: pytest.fail("something was measured")
    )
    assert main(["compare", "--base", "HEAD", "--markdown", "run.json/verdict.md"]) == 2
    assert main(["compare", "--floor", "--floor-file", "run.json/floor.json"]) == 2
    assert capsys.readouterr().err.count("run.json is a file, not a folder") == 2


def test_a_file_compared_with_itself_is_judged_only_as_far_as_its_rows_are(at_files, capsys):
    """The machine's noise is not known, so nothing can be the same; the broken row is left out of this file."""
    run = json.loads(GOLDEN.read_text())
    run["xaimed"]["rows"] = []
    (at_files / "right.json").write_text(json.dumps(run))
    assert main(["compare", "right.json", "right.json", "--markdown", "verdict.md"]) == 3
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[-1] == "judged 0 of 1 rows; not judged: 1 unknown"
    for text in (said.out, (at_files / "verdict.md").read_text()):
        assert "Inconclusive: no row was judged" in text
        assert not [word for word in ("nothing speaks against", "same", "faster") if word in text]
    assert main(["compare", "run.json", "run.json"]) == 1
    last = "judged 1 of 2 rows: 0 slower, 0 faster, 0 same, 1 wrong; not judged: 1 unknown"
    assert capsys.readouterr().out.splitlines()[-1] == last


@pytest.mark.parametrize(
    "fails", [BrokenPipeError(32, "Broken pipe"), OSError(28, "No space left on device")]
)
@pytest.mark.parametrize("argv", ["report run.json", "compare run.json run.json", "--help"])
def test_output_that_nobody_takes_is_never_a_success(argv, fails, at_files, monkeypatch, capsys):
    class Closed(io.StringIO):
        def write(self, text):
            raise fails

    monkeypatch.setattr(sys, "stdout", Closed())
    assert main(shlex.split(argv)) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_reader_that_leaves_early_gets_one_line_from_a_real_pipe():
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "xaimed_bench", "report", str(GOLDEN)]
    paths = os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "reports", "bench"))
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment, check=False
    )
    os.close(write)
    assert done.returncode == 2
    assert done.stderr == "xaimed report: the output was closed before all was written\n"


def test_where_not_even_the_message_can_be_written_the_exit_code_is_no_finding():
    paths = os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "reports", "bench"))
    for words in (["compare", str(GOLDEN), str(GOLDEN)], ["report", "none.json"]):
        with open("/dev/full", "w") as full:
            command = [sys.executable, "-m", "xaimed_bench", *words]
            environment = {**os.environ, "PYTHONPATH": paths}
            done = subprocess.run(command, stdout=full, stderr=full, env=environment, check=False)
        assert done.returncode == 2


@pytest.mark.parametrize(
    ("closed", "words", "code"),
    [(">&- 2>&-", "none.json", 2), ("2>&-", "none.json", 2), (">&-", "run.json", 0), ("<&-", "run.json", 0)],
)
def test_a_closed_stream_changes_no_exit_code_and_no_other_stream(closed, words, code, at_files):
    paths = os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "reports", "bench"))
    command = f"{shlex.quote(sys.executable)} -m xaimed_bench report {words} {closed}"
    environment = {**os.environ, "PYTHONPATH": paths}
    done = subprocess.run(command, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert (done.stdout == "") is (">&-" in closed or code == 2)
    assert done.stderr == ""


def test_a_home_is_found_where_no_shell_looks_for_it(at_files, monkeypatch):
    monkeypatch.setenv("HOME", str(at_files))
    assert main(["report", "~/run.json", "--html=~/page.html", "--markdown", "~/a.md"]) == 0
    assert (at_files / "page.html").exists()
    assert (at_files / "a.md").exists()
    assert not (at_files / "~").exists()


@pytest.mark.parametrize("columns", ["0", "", "x", "-3", "1", "9" * 30])
def test_a_width_that_no_terminal_has_hides_nothing(columns, at_files, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    assert main(["report", "run.json"]) == 0
    assert "xgradcam" in "".join(capsys.readouterr().out.split())


def test_a_history_that_must_not_be_written_to_can_be_read(at_files, monkeypatch, capsys):
    assert main(["history", "add", "run.json", "--file", "h.sqlite"]) == 0
    monkeypatch.setattr(os, "access", lambda *place: False)
    for what, code in (("show", 0), ("check", 3), ("verify", 0)):
        assert main(["history", what, "--file", "h.sqlite"]) == code
    assert main(["history", "add", "run.json", "--file", "h.sqlite"]) == 2
    assert capsys.readouterr().err == "xaimed history: h.sqlite must not be written to; give another name\n"


def test_a_terminal_that_cannot_show_a_sign_shows_another(at_files, monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["report", "run.json", "--markdown", "-"]) == 0
    assert b"xgradcam" in shown.buffer.getvalue()


def test_a_warning_is_one_line_said_once(at_files, monkeypatch, capsys):
    def warned(path):
        for line in ("a map is empty:\n\x1b[31mlook elsewhere", "another", "another"):
            warnings.warn(line, stacklevel=1)
        raise UnusableError("nothing here")

    monkeypatch.setattr("xaimed_reports.store.load.load", warned)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert main(["report", "run.json"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "note: a map is empty: ?[31mlook elsewhere", "note: another", "xaimed report: nothing here",
    ]  # fmt: skip


def test_a_fault_of_xaimed_is_shown_whole_and_is_no_finding(at_files, monkeypatch, capsys):
    """Python ends with 1 after an uncaught error, which a gate would read as slower."""

    def faulty(path):
        raise KeyError("a bug")

    monkeypatch.setattr("xaimed_reports.store.load.load", faulty)
    assert main(["compare", "run.json", "run.json"]) == FAULT not in (0, 1, 2, 3)
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "KeyError: 'a bug'" in said
    assert "please report it" in said
