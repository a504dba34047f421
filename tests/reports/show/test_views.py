"""What people see: terminal, Markdown and page say the same, explain every verdict and hide what is private."""

import re
from typing import get_args

import pytest
from rich.console import Console

from xaimed_bench.cli import COMMANDS, main
from xaimed_reports.compare.comment import comment
from xaimed_reports.compare.compare import compare
from xaimed_reports.compare.verdict_list import show_comparison
from xaimed_reports.compare.verdicts import MEANINGS, Verdict
from xaimed_reports.format import byte_count, case_words, seconds, times
from xaimed_reports.show.figures import memory_points, time_points
from xaimed_reports.show.markdown import markdown
from xaimed_reports.show.page import page
from xaimed_reports.show.summary import cells, lines, sentences
from xaimed_reports.show.terminal import COLOURS, console, show
from xaimed_reports.store.records import Case


def in_terminal(run):
    out = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show(run, out)
    out.file.close()
    return out.export_text()


def test_every_verdict_has_a_meaning_and_a_colour():
    assert set(MEANINGS) == set(COLOURS) == set(get_args(Verdict))


def test_a_line_says_times_ratio_forwards_memory_and_difference(pair):
    text = in_terminal(pair)
    for shown in ("110 ms", "330 ms", "3x [3, 3]", "1.1x / 3.3x", "100 MiB / 100 MiB", "2.0e-06", "faster"):
        assert shown in text


def test_a_verdict_that_leaves_a_question_is_explained_in_every_view(pair):
    for text in (in_terminal(pair), markdown(pair), page(pair, {})):
        assert "because of wrong" in text


def test_a_reason_that_many_cases_share_is_said_once(make_run, make_row):
    rows = [make_row(method=f"m{i}", status="skipped") for i in range(25)]
    run = make_run(*rows, make_row(method="slow", status="failed"))
    for text in (in_terminal(run), markdown(run)):
        assert text.count("because of skipped") == 1
        assert re.search(r"skipped: m0; m1; m2 and 22 more: xaimed: because of skipped", text)
        assert re.search(r"failed: slow: xaimed: because of failed", text)


def test_a_question_has_one_table_in_whatever_order_its_cases_were_measured(make_run, make_row):
    road = Case("scoring maps", {"kept": "20"}, 2)
    run = make_run(make_row(), make_row(case=road), make_row(method="layercam"))
    assert markdown(run).count("**Explaining a batch") == 1
    assert in_terminal(run).count("Explaining a batch") == 1
    assert [line.name for line in lines(run)][:2] == ["xgradcam", "layercam"]


def test_three_sentences_close_a_run(pair):
    found = sentences(pair)
    assert len(found) == 3
    assert all(s.endswith(".") for s in found)
    assert "faster in the one timed case, 3x (" in found[0]
    assert "1.1x" in found[1]
    assert "1 wrong" in found[2]


def test_a_run_in_which_nothing_was_judged_is_not_praised(make_run, make_row):
    undecided = make_run(make_row(wall_s=(0.11,) * 3), make_row("reference", (0.33,) * 3))
    alone, empty = make_run(make_row(fidelity=None)), make_run()
    for run, said in (
        (undecided, "Of 1 cases timed against the reference none could be decided."),
        (alone, "No output of xaimed was checked; not compared: 1 alone"),
        (empty, "Nothing was checked and nothing compared"),
    ):
        for text in (" ".join(in_terminal(run).split()), markdown(run), page(run, {})):
            assert said in text
            assert "every case was compared" not in text
            assert "0 of 0" not in text
            assert "from 3x" not in text


def test_no_time_is_shown_for_a_wrong_output(make_run, make_row):
    bad = make_run(make_row(status="wrong"), make_row("reference"))
    (line,) = lines(bad)
    assert (line.ours_s, line.speedup, line.verdict) == (None, None, "wrong")


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ((0.33,) * 6, "faster"),
        ((0.05,) * 6, "slower"),
        ((0.112, 0.111, 0.11, 0.11, 0.109, 0.11), "same"),
        ((0.33,) * 3, "unknown"),
        ((0.01, 0.9, 0.01, 0.9, 0.01, 0.9), "unknown"),
    ],
)
def test_a_verdict_needs_the_whole_interval(other, verdict, make_run, make_row):
    ours = make_row(wall_s=(0.11,) * len(other))
    (line,) = lines(make_run(ours, make_row("reference", other)))
    assert line.verdict == verdict
    assert line.why


def test_a_reason_that_cases_share_stands_once_on_the_page(make_run, make_row):
    skipped = [make_row(method=name, status="skipped") for name in ("a", "b", "c")]
    wrong = make_row(method="d", status="wrong")
    text = page(make_run(*skipped, wrong), {})
    assert text.count("because of skipped") == text.count("because of wrong") == 1
    assert "skipped: a; b; c: xaimed: because of skipped" in text


def test_the_column_beside_xaimed_has_the_name_that_the_program_gives(make_run, make_row):
    theirs = make_row("reference", (0.33,) * 6, what="grad-cam 1.5.7 XGradCAM")
    one, several = make_run(make_row(), theirs), make_run(make_row(), theirs, make_row("torchcam"))
    assert "| case | xaimed | grad-cam |" in markdown(one)
    assert "Against grad-cam xaimed was faster in the one timed case" in markdown(one)
    assert "| case | xaimed | compared with |" in markdown(several)
    for text in (in_terminal(several), markdown(several), page(several, {})):
        assert not re.search(r"\bours\b", text)
    names = {p.label.rpartition(", ")[2] for p in (*time_points(lines(one)), *memory_points(lines(one)))}
    assert "grad-cam" in names
    assert "reference" not in names


def test_markup_in_names_is_shown_and_not_obeyed(make_run, make_row):
    case = Case("<script>alert(1)</script>", {"method": "[red]x|y[/red]", "b": "1"}, 1)
    odd = make_run(make_row(case=case), make_row("reference", case=case))
    assert "[red]x|y[/red]" in in_terminal(odd)
    assert "<script>" not in page(odd, {})
    assert "<script>" not in markdown(odd)
    assert "x\\|y" in markdown(odd)


def test_numbers_read_as_people_write_them():
    assert [seconds(v) for v in (None, 1.5, 0.0123, 4.56e-5)] == ["-", "1.5 s", "12.3 ms", "45.6 µs"]
    assert [byte_count(v) for v in (None, 512, 2**20, 3 * 2**29)] == ["-", "512 B", "1 MiB", "1.5 GiB"]
    assert [times(v) for v in (None, 1.054, 12345.0)] == ["-", "1.05x", "12,345x"]


@pytest.mark.parametrize("columns", [80, 60])
def test_a_narrow_terminal_cuts_no_name_and_no_number(columns, make_run, make_row, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    axes = {"method": "eigengradcam", "model": "efficientnet_b0", "layer": "last"}
    cases = [Case("explaining a batch", {**axes, "batch": batch}, 4) for batch in ("4", "16")]
    run = make_run(*(make_row(impl, case=case) for case in cases for impl in ("ours", "reference")))
    show(run, console())
    show_comparison(compare([run], [run]), console())
    shown = capsys.readouterr().out
    assert "…" not in shown
    assert {word for line in lines(run) for cell in cells(line) for word in cell.split()} <= {*shown.split()}
    assert max(map(len, shown.splitlines()[:9])) <= 80


def test_output_that_is_no_terminal_is_130_columns_wide_unless_columns_says_else(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == 130
    monkeypatch.setenv("COLUMNS", "99")
    assert console().width == 99


def test_a_comparison_reads_the_same_in_the_terminal_and_in_a_pull_request(make_run, make_row):
    base, new = [make_run(make_row())], [make_run()]
    found = compare(base, new)
    out = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    show_comparison(found, out)
    out.file.close()
    for text in (out.export_text(), comment(found, base, new)):
        assert "gone" in text
        assert "This must not pass" in text
        assert "udged 1 of 1 rows: 0 slower, 0 faster, 0 same, 1 gone" in text


def test_an_unknown_command_names_the_known_ones(capsys):
    assert main(["benches"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in COMMANDS)


def test_a_case_is_said_with_what_its_numbers_count():
    assert case_words({"method": "xgradcam", "model": "resnet50", "batch": "4", "size": "224"}) == (
        "xgradcam resnet50, batch 4, 224 px"
    )
    assert case_words({"kept": "20"}) == "20 % kept"
    assert case_words({"depth": "3"}) == "depth 3"
    assert case_words({}) == ""
