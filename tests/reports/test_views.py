"""What people see: terminal, Markdown and page say the same, explain every verdict and hide what is private."""

import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from rich.console import Console

from xaimed_bench.cli import COMMANDS, main
from xaimed_reports.compare.comment import comment
from xaimed_reports.compare.compare import compare
from xaimed_reports.compare.verdict_list import show_comparison
from xaimed_reports.compare.verdicts import MEANINGS, Verdict
from xaimed_reports.format import byte_count, case_words, seconds, times
from xaimed_reports.show.figures import Point, memory_points, scatter, time_points
from xaimed_reports.show.markdown import markdown
from xaimed_reports.show.page import page
from xaimed_reports.show.pictures import load_pictures
from xaimed_reports.show.summary import cells, lines, sentences
from xaimed_reports.show.terminal import COLOURS, console, show
from xaimed_reports.store.load import pictures_path
from xaimed_reports.store.records import Case, Conditions

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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


def test_three_sentences_close_a_run(pair):
    found = sentences(pair)
    assert len(found) == 3
    assert all(s.endswith(".") for s in found)
    assert "faster in 1 of 1 timed cases" in found[0]
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


def test_the_column_beside_xaimed_has_the_name_that_the_program_gives(make_run, make_row):
    theirs = make_row("reference", (0.33,) * 6, what="grad-cam 1.5.7 XGradCAM")
    one, several = make_run(make_row(), theirs), make_run(make_row(), theirs, make_row("torchcam"))
    assert "| case | xaimed | grad-cam |" in markdown(one)
    assert "Against grad-cam xaimed was faster in 1 of 1 timed cases" in markdown(one)
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


class Outline(HTMLParser):
    """Collects what a page refers to, and whether its tags close."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.tags, self.images = [], [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.addresses += [found[k] for k in ("src", "href", "action", "xlink:href") if k in found]
        self.images += [found] if tag == "img" else []
        self.open += [] if tag in ("meta", "img") else [tag]
        if tag == "svg":
            assert found["role"] == "img"
            assert found["aria-label"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture
def with_pictures(pair, tmp_path):
    file = tmp_path / "out.json"
    key = pair.rows[0].case.key
    ramp = np.arange(64, dtype=np.uint8).reshape(8, 8)
    shown = {f"{key}/image": np.zeros((8, 8, 3), np.uint8), f"{key}/map, xaimed": ramp}
    np.savez_compressed(pictures_path(file), **shown)
    return file


def test_the_page_is_one_file_that_asks_for_nothing(pair, with_pictures):
    text = page(pair, load_pictures(with_pictures))
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert "script" not in outline.tags
    assert outline.images
    assert all(image["alt"] for image in outline.images)
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in outline.addresses)
    assert not re.search(r"@import|url\(|https?:", text)


def test_the_page_has_every_part(pair, with_pictures):
    text = page(pair, load_pictures(with_pictures))
    for part in ("times faster", "What fidelity costs", "Maps", "Every sample", "machine", "verdicts mean"):
        assert part in text
    for sentence in sentences(pair):
        assert sentence in text
    assert text.count("<use") >= 12
    lanes = re.findall(r"<text[^>]*>([^<]*)</text>", text)
    assert {"xaimed", "plain forward"} <= set(lanes)
    assert "ours" not in lanes


def test_the_samples_say_what_they_were_taken_under(make_run, make_row):
    held = {"throttled_by before": "", "throttled_by after": "power cap"}
    clocks = {"sm_mhz": (1500.0, 1400.0), "temperature_c": (60.0, 71.0)}
    conditions = Conditions(1.5, 0.25, 0.01, 3, 2, gpu=held, gpu_by_block=clocks)
    text = page(make_run(make_row(conditions=conditions, carry_over=1.04)), {})
    for said in ("first call 1 s", "warm-up 500 ms", "interleaved", "cache as the arm before left it"):
        assert said in text
    for said in (
        "carry-over 1.040",
        "other processes 1%",
        "250 ms stolen",
        "load 1.5",
        "3 involuntary switches",
    ):
        assert said in text
    for said in ("throttled by power cap", "sm mhz", "temperature c"):
        assert said in text


def test_a_page_without_images_holds_none(store, pair, with_pictures, tmp_path):
    store(pair, with_pictures)
    whole, bare = tmp_path / "whole.html", tmp_path / "bare.html"
    assert main(["report", str(with_pictures), "--html", str(whole)]) == 0
    assert main(["report", str(with_pictures), "--html", str(bare), "--no-images"]) == 0
    assert "<img" in whole.read_text()
    assert "<img" not in bare.read_text()


def test_numbers_read_as_people_write_them():
    assert [seconds(v) for v in (None, 1.5, 0.0123, 4.56e-5)] == ["-", "1.5 s", "12.3 ms", "45.6 µs"]
    assert [byte_count(v) for v in (None, 512, 2**20, 3 * 2**29)] == ["-", "512 B", "1 MiB", "1.5 GiB"]
    assert [times(v) for v in (None, 1.054, 12345.0)] == ["-", "1.05x", "12,345x"]


@pytest.mark.parametrize("values", [(1.0,), (0.97, 1.02), (1e-9, 1e9), (3.0, 500.0)])
def test_drawings_say_every_point_between_few_ticks(values):
    points = [Point(f'<case> "{v:g}" $x$', v, v, ours=True) for v in values]
    text = scatter(points, [], x_name="cost", y_name="distance")
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert all(f"<title>&lt;case&gt; &quot;{v:g}&quot; $x$</title>" in text for v in values)
    words = re.findall(r"<text[^>]*>([^<]*)</text>", text)
    assert {"cost", "distance"} < set(words)
    assert 2 <= sum(word.endswith("x") for word in words) <= 8
    assert text == scatter(points, [], x_name="cost", y_name="distance")


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


def in_a_fresh_process(code):
    paths = [str(ROOT), str(ROOT / "kernels"), str(ROOT / "reports"), str(ROOT / "bench")]
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}\n{code}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("words", [[], *([name, "--help"] for name in ("compare", "report", "trial"))])
def test_help_starts_without_torch(words):
    said = in_a_fresh_process(
        f"import runpy; sys.argv = ['xaimed', *{words!r}]\n"
        "try:\n    runpy.run_module('xaimed_bench', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code, end.code\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'triton', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    assert "usage" in said


@pytest.mark.parametrize("command", ["report", "compare"])
def test_stored_runs_are_shown_and_compared_without_torch(command, tmp_path):
    golden = str(ROOT / "tests/reports/golden/schema-1.json")
    rest = ["--html", str(tmp_path / "p.html")] if command == "report" else [golden]
    in_a_fresh_process(
        f"from xaimed_bench.cli import main\nassert main({[command, golden, *rest]!r}) in (0, 1)\n"
        "assert 'torch' not in sys.modules"
    )


def test_an_unknown_command_names_the_known_ones(capsys):
    assert main(["benches"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in COMMANDS)


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_a_browser_shows_the_page_without_errors_or_requests(pair, with_pictures, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(page(pair, load_pictures(with_pictures)))
    assert CHROMIUM is not None
    log = tmp_path / "net.json"
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}", "--window-size=390,900",
        f"--screenshot={tmp_path / 'page.png'}", file.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert "CONSOLE" not in done.stderr
    hosts = set(re.findall(r'"url":"https?://([^/"]+)', log.read_text()))
    assert {h for h in hosts if not h.endswith((".google.com", ".googleapis.com"))} == set()  # its own


def test_a_case_is_said_with_what_its_numbers_count():
    assert case_words({"method": "xgradcam", "model": "resnet50", "batch": "4", "size": "224"}) == (
        "xgradcam resnet50, batch 4, 224 px"
    )
    assert case_words({"kept": "20"}) == "20 % kept"
    assert case_words({"depth": "3"}) == "depth 3"
    assert case_words({}) == ""
