"""`xaimed data` says what a folder holds, at 80 columns and as JSON, and answers a user's mistake in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bench.data.made import copy, paint, save_again
from xaimed_bench.cli import main


@pytest.fixture
def scans(tmp_path: Path, monkeypatch) -> Path:
    """Twelve images to train on and six to test on, of which one leaks by its bytes and one by its looks."""
    folder = tmp_path / "scans"
    for k in range(12):
        paint(folder / "train" / "ab"[k % 2] / f"{k}.png")
    for k in range(4):
        paint(folder / "test" / "ab"[k % 2] / f"new{k}.png")
    copy(folder / "train" / "a" / "0.png", folder / "test" / "a" / "bytes.png")
    save_again(folder / "train" / "b" / "1.png", folder / "test" / "b" / "look.jpg")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(tmp_path)
    return folder


def ran(capsys, *arguments: str) -> tuple[int, str]:
    code = main(["data", *arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return code, out


def test_the_table_holds_classes_splits_and_leaks(scans, capsys):
    code, out = ran(capsys, "scans")
    assert code == 1
    lines = [line.split() for line in out.splitlines()]
    assert ["class", "training", "validation", "testing", "images", "same", "bytes", "same", "look"] in lines
    assert ["a", "5", "1", "3", "9", "1", "0"] in lines
    assert ["b", "5", "1", "3", "9", "0", "1"] in lines
    assert ["all", "10", "2", "6", "18", "1", "1"] in lines
    table = out.partition("all images are 96 x 80 pixels")[0]
    assert max(len(line.rstrip()) for line in table.splitlines()) <= 80
    assert table < out
    assert "1 of 6 testing images are byte-identical to a training image" in out
    assert "test/b/look.jpg of train/b/1.png" in out


@pytest.mark.parametrize(
    ("options", "code", "left"),
    [
        ((), 1, 6),
        (("--drop-leaks",), 1, 5),
        (("--drop-leaks", "bytes"), 1, 5),
        (("--drop-leaks", "near"), 0, 4),
    ],
)
def test_leaks_are_left_out_as_asked_and_the_exit_code_counts_the_rest(options, code, left, scans, capsys):
    found, _ = ran(capsys, "scans", *options, "--json", "out.json")
    assert found == code
    stored = json.loads(Path("out.json").read_text())
    assert sum(stored["counts"]["testing"].values()) == left


def test_json_holds_every_name(scans, capsys):
    (scans / "test" / "a" / "bad.png").touch()
    code, out = ran(capsys, "scans", "--json", "-", "--workers", "0")
    stored = json.loads(out)
    assert code == 1
    assert stored["name"] == "scans"
    assert stored["classes"] == ["a", "b"]
    assert stored["sizes"] == [{"width": 96, "height": 80, "images": 18}]
    assert stored["leaks"] == [
        {"name": "test/a/bytes.png", "way": "bytes", "of": "train/a/0.png"},
        {"name": "test/b/look.jpg", "way": "near", "of": "train/b/1.png"},
    ]
    assert [bad["name"] for bad in stored["unreadable"]] == ["test/a/bad.png"]
    assert len(stored["digest"]) == 64


def test_a_clean_folder_exits_with_0_and_long_lists_are_cut(scans, capsys):
    for name in ("bytes.png", "look.jpg"):
        next(scans.rglob(f"test/*/{name}")).unlink()
    assert ran(capsys, "scans")[0] == 0
    for k in range(7):
        (scans / "train" / "a" / f"bad{k}.png").touch()
    code, out = ran(capsys, "scans")
    assert code == 1
    assert "7 images cannot be read:" in out
    assert "bad4.png" in out
    assert "bad5.png" not in out
    assert "... and 2 more; --json FILE writes all" in out


def test_a_name_does_nothing_to_the_terminal(scans, capsys):
    (scans / "train" / "a" / "[bold]\x1b[31mred\n.png").touch()
    out = ran(capsys, "scans")[1]
    assert "\x1b" not in out
    assert "[bold]?[31mred?.png" in out.replace("\n", "")


def test_a_package_of_the_study_that_is_missing_is_named_with_its_extra(scans, monkeypatch, capsys):
    monkeypatch.setattr("xaimed_bench.cli.find_spec", lambda name: None if name == "imagehash" else object())
    assert main(["data", "scans"]) == 2
    assert capsys.readouterr().err == (
        "xaimed data: not installed: imagehash; type pip install 'xaimed[bench,study]'\n"
    )
