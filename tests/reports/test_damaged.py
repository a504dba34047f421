"""Files that are not xaimed's or not whole: never a traceback, never believed; what they hold is never markup."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.reports.damaged import damaged
from xaimed_bench.cli import main
from xaimed_reports.store.load import load, pictures_path
from xaimed_reports.store.records import Case


def refused(count, first, whole, tmp_path, capsys):
    """Every damage is refused by every command, in one line that names the file; returns the kinds."""
    right, file, seen = tmp_path / "right.json", tmp_path / "damaged.json", set()
    right.write_text(json.dumps(whole))
    for seed in range(first, first + count):
        kind, raw = damaged(whole, seed)
        file.write_bytes(raw)
        seen.add(kind)
        for words in (["report", str(file), "--markdown", "-"], ["compare", str(right), str(file)]):
            assert main(words) == 2, (seed, kind)
            said = capsys.readouterr()
            assert said.out == "", (seed, kind)
            assert "damaged.json: " in said.err, (seed, kind)
            assert said.err.count("\n") == 1, (seed, kind)
    return seen


def test_200_damaged_or_foreign_files_are_refused(pair, stored, tmp_path, capsys):
    assert len(refused(200, 0, stored(pair), tmp_path, capsys)) == 9


@pytest.mark.nightly
def test_2000_damaged_or_foreign_files_are_refused(pair, stored, tmp_path, capsys):
    refused(2000, 200, stored(pair), tmp_path, capsys)


def test_one_flipped_byte_in_the_pictures_is_noticed(pair, store, tmp_path, capsys):
    run = tmp_path / "out.json"
    store(pair, run)
    shown = np.random.default_rng(0).integers(0, 255, (20, 20), dtype=np.uint8)
    np.savez_compressed(pictures_path(run), **{f"{pair.rows[0].case.key}/map": shown})
    raw = pictures_path(run).read_bytes()
    page = ["report", str(run), "--html", str(tmp_path / "page.html")]
    assert main(page) == 0
    whole = (tmp_path / "page.html").read_text()
    capsys.readouterr()
    for at in range(0, len(raw), 7):
        pictures_path(run).write_bytes(raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1 :])
        code, err = main(page), capsys.readouterr().err
        assert code in (0, 2)
        if code == 2:
            assert "out.pictures.npz: " in err
            assert err.count("\n") == 1
        else:  # a byte that means nothing, such as a date
            assert (tmp_path / "page.html").read_text() == whole or "map" not in load(run).images_from


HOSTILE = "<script>alert(1)</script> [here](javascript:x) [/bold] `x` a*b*c \x1b[31mred\x1b]0;title\x07 \u202eesrever |"


@pytest.fixture
def hostile(make_run, make_row, store, tmp_path):
    """A run that holds markup and control sequences wherever a text can stand."""
    case = Case(HOSTILE, {"method": HOSTILE, HOSTILE: "4"}, 4)
    rows = [
        make_row(case=case, what=HOSTILE, notes=(HOSTILE,)),
        make_row("reference", (0.3,) * 6, case=case, what=HOSTILE),
        make_row(HOSTILE, case=case, status="failed", what=HOSTILE),
    ]
    machine = make_run().machine
    run = make_run(
        *rows, images_from=HOSTILE, profile=HOSTILE, revision=HOSTILE, started_utc=HOSTILE,
        machine=type(machine)(HOSTILE, HOSTILE, 2, None, 2, {"torch": HOSTILE}),
    )  # fmt: skip
    store(run, tmp_path / "hostile.json")
    return str(tmp_path / "hostile.json")


def test_what_a_file_holds_is_never_markup_in_markdown(hostile, tmp_path, capsys):
    assert main(["report", hostile, "--markdown", str(tmp_path / "a.md")]) == 0
    main(["compare", hostile, hostile, "--markdown", str(tmp_path / "b.md")])
    for name in "ab":
        text = (tmp_path / f"{name}.md").read_text()
        assert "script" in text
        assert not [found for found in ("<script", "](", "\x1b", "\x07", "\u202e", " `x`") if found in text]


def test_control_sequences_reach_no_terminal(hostile, capsys):
    main(["report", hostile])
    main(["compare", hostile, hostile])
    main(["compare", hostile, hostile, "--fail-on", "\x1b[31m"])
    named = Path(hostile).with_name("\x1b]0;title\x07.json")
    named.write_bytes(Path(hostile).read_bytes())
    main(["report", str(named), "--html", f"{named}.html"])
    exports = [["export", "-"], ["export", "-", "--format", "otava"], ["export", "-", "--format", "bencher"]]
    for words in (["add", str(named)], ["show"], ["check"], ["verify"], *exports):
        assert main(["history", *words, "--file", str(Path(hostile).with_name("h.sqlite"))]) in (0, 1, 3)
    said = capsys.readouterr()
    assert "script" in said.out
    assert not [c for c in said.out + said.err if not c.isprintable() and c != "\n"]


def test_the_page_lets_nothing_run_or_load(hostile, tmp_path):
    page = tmp_path / "page.html"
    assert main(["report", hostile, "--html", str(page)]) == 0
    text = page.read_text()
    assert "<script" not in text
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    )
    assert text.index(policy) < text.index("<style>")
