"""`xaimed compare --base` and `--floor`: what is judged decides the exit code, and a second look loses nothing."""

import copy

import pytest

from xaimed_bench.cli import main
from xaimed_bench.running import alternate
from xaimed_reports.store.records import Conditions

BUSY = Conditions(2.0, 0.0, 0.5, 3, 2)


@pytest.fixture
def gate(monkeypatch, tmp_path, make_run, make_row):
    """Makes the processes of both sides without measuring: each side's rows by method and time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(alternate.Alternation, "__enter__", lambda self: self)

    def gate(**series):
        def of(times, **fields):
            rows = [make_row(wall_s=(s,) * 4, method=method, **fields) for method, s in times.items()]
            return [make_run(*(copy.copy(row) for row in rows)) for _ in range(6)]

        def measure(self, only=None, keys=(), *, called="first"):
            return tuple(of(times) for times in series[called])

        monkeypatch.setattr(alternate.Alternation, "measure", measure)
        monkeypatch.setattr(
            alternate.Alternation,
            "repeat",
            lambda self, count, only=None: 2 * of({"a": 0.1}, conditions=BUSY),
        )

    return gate


def last_line(capsys):
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.splitlines()[-1]


@pytest.mark.parametrize(
    ("new", "code", "last"),
    [
        ({"a": 0.1, "b": 0.1}, 0, "judged 2 of 2 rows: 0 slower, 0 faster, 2 same"),
        ({"a": 0.1, "b": 0.12}, 1, "judged 2 of 2 rows: 1 slower, 0 faster, 1 same"),
        ({"a": 0.1}, 1, "judged 2 of 2 rows: 0 slower, 0 faster, 1 same, 1 gone"),
        (
            {"a": 0.1, "b": 0.08, "c": 1.0},
            0,
            "judged 2 of 3 rows: 0 slower, 1 faster, 1 same; not judged: 1 new",
        ),
    ],
)
def test_the_last_line_counts_what_was_judged(new, code, last, gate, capsys):
    gate(first=({"a": 0.1, "b": 0.1}, new))
    assert main(["compare", "--base", "main"]) == code
    assert last_line(capsys) == last


def test_sides_without_a_row_in_common_are_unusable(gate, capsys):
    gate(first=({"a": 0.1}, {"b": 0.1}))
    assert main(["compare", "--base", "main"]) == 2
    assert (
        "no row of xaimed is in both the base (1 rows) and the checkout (1 rows)" in capsys.readouterr().err
    )


@pytest.mark.parametrize(("again", "code"), [(0.1, 0), (0.12, 1)])
def test_a_slower_row_must_be_slower_twice_where_that_is_asked(again, code, gate, capsys):
    gate(first=({"a": 0.1, "b": 0.1}, {"a": 0.1, "b": 0.12}), again=({"b": 0.1}, {"b": again}))
    assert main(["compare", "--base", "main", "--confirm", "--markdown", "verdict.md"]) == code
    assert last_line(capsys).startswith("judged 2 of 2 rows: ")


def test_what_is_not_measured_again_still_counts(gate, capsys):
    gate(first=({"a": 0.1, "b": 0.1}, {"a": 0.12}), again=({"a": 0.1}, {"a": 0.1}))
    assert main(["compare", "--base", "main", "--confirm"]) == 1
    assert last_line(capsys) == "judged 2 of 2 rows: 0 slower, 0 faster, 1 same, 1 gone"


def test_a_floor_of_a_disturbed_machine_is_none(gate, capsys, tmp_path):
    gate()
    assert main(["compare", "--floor"]) == 3
    assert last_line(capsys).startswith("no floor: something disturbed the machine in every row")
    assert [path.name for path in (tmp_path / "xaimed-results").rglob("*.json")] == ["asked.json"]
