"""The comment of a pull request says what was found, and how much was judged, in its first line."""

from dataclasses import replace

import pytest

from xaimed_bench.cli import main
from xaimed_reports.compare.comment import MARKER, MOST_SIGNS, comment, headline
from xaimed_reports.compare.compare import Comparison, Judgement, compare

FLAT = (0.1,) * 8


@pytest.fixture
def sides(make_run, make_row):
    """Two sides of six processes, whose rows take the times given, by method."""

    def side(revision, times):
        dates = [f"2026-01-02T03:0{i}:00+00:00" for i in range(6)]
        rows = [make_row(wall_s=(s,) * 8, method=m) for m, s in times.items()]
        return [make_run(*rows, revision=revision, started_utc=date) for date in dates]

    return lambda base, new: (side("aaaaaaaaaaaa", base), side("bbbbbbbbbbbb", new))


@pytest.mark.parametrize(
    ("base", "new", "code", "said"),
    [
        ({"a": 0.1, "b": 0.1}, {"a": 0.1, "b": 0.1}, 0, "nothing slower, 2 of 2 rows judged"),
        ({"a": 0.1, "b": 0.1}, {"a": 0.1, "b": 0.08}, 0, "nothing slower, 2 of 2 rows judged"),
        ({"a": 0.1, "b": 0.1}, {"a": 0.1, "b": 0.12}, 1, "1 slower, 2 of 2 rows judged"),
        ({"a": 0.1, "b": 0.1}, {"a": 0.12}, 1, "1 slower, 1 gone, 2 of 2 rows judged"),
        ({"a": 0.1}, {"a": 0.1, "b": 0.12}, 0, "nothing slower, 1 of 2 rows judged"),
    ],
)
def test_the_first_line_says_it_all_and_as_loudly_where_nothing_is_slower(base, new, code, said, sides):
    found = compare(*sides(base, new))
    assert found.exit_code == code
    lines = comment(found, *sides(base, new)).splitlines()
    assert lines[:2] == [MARKER, f"### xaimed: {said}"]


def test_the_header_names_machines_revisions_and_dates_and_there_is_one_table(sides):
    both = sides({"a": 0.1, "b": 0.1}, {"a": 0.1, "b": 0.12})
    text = comment(compare(*both), *both)
    for revision in ("aaaaaaaaaaaa", "bbbbbbbbbbbb"):
        (line,) = [line for line in text.splitlines() if revision in line]
        assert "6 processes, 2026-01-02T03:00:00+00:00 to 2026-01-02T03:05:00+00:00" in line
        assert "a processor, 2 threads" in line
        assert "torch 2.14.1" in line
    assert text.count("\n| case |") == 1
    rows = [line for line in text.splitlines() if line.startswith("| explaining")]
    assert ["slower" in row for row in rows] == [True, False], "what needs attention comes first"


def test_names_from_files_cannot_write_markup(sides):
    base, new = sides({"a": 0.1}, {"a": 0.1})
    evil = [replace(run, revision="<script>`[x](http://y)") for run in new]
    text = comment(compare(base, evil), base, evil)
    assert "<script>" not in text
    assert "](" not in text.replace("]\\(", "")


def test_a_comment_stays_short_enough_for_the_platforms_and_says_what_it_left_out():
    many = tuple(Judgement(f"row {i}", "time", "same", "x" * 100) for i in range(3000))
    loud = Judgement("the slower one", "time", "slower", "y")
    found = Comparison(judgements=(*many, loud), loaded=False, units="processes")
    text = comment(found, *[[_run()]] * 2)
    assert MOST_SIGNS * 0.9 < len(text) < 65_536
    assert "the slower one" in text
    assert "more findings do not fit here" in text


def _run():
    from tests.reports.conftest import run

    return run()


def test_too_few_rows_judged_are_inconclusive(sides):
    found = compare(*sides({"a": 0.1, "b": 0.1}, {"a": 0.1, "b": 0.1}))
    other = Judgement("c", "time", "unknown", "too noisy")
    partly = replace(found, judgements=(*found.judgements, other), required=2 / 3)
    assert partly.exit_code == 0
    partly = replace(partly, required=0.8)
    assert partly.exit_code == 3
    assert headline(partly) == "inconclusive, 2 of 3 rows judged"
    assert "67% of the rows that the base has were judged, 80% are asked for" in comment(
        partly, [_run()], [_run()]
    )
    new = replace(partly, judgements=(*found.judgements, replace(other, what="row", verdict="new")))
    assert new.exit_code == 0, "a row that the base lacks cannot be judged"
    slower = replace(partly, judgements=(*partly.judgements, replace(other, key="d", verdict="slower")))
    assert slower.exit_code == 1, "a finding is one, however few rows were judged"


def test_the_command_takes_a_percentage(sides, store, tmp_path, monkeypatch, make_run, make_row):
    monkeypatch.chdir(tmp_path)
    for name in ("base", "new"):
        store(make_run(make_row(wall_s=FLAT), make_row(wall_s=FLAT, method="b")), tmp_path / name)
    assert main(["compare", "base", "new"]) == 3, "nothing is judged without a floor"
    assert main(["compare", "base", "new", "--require-judged", "80%", "--markdown", "c.md"]) == 3
    assert (tmp_path / "c.md").read_text().startswith(f"{MARKER}\n### xaimed: inconclusive, 0 of 2")
