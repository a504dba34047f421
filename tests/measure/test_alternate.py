"""Base and new in alternating processes: work trees that come and go, and sides that are told apart."""

import subprocess

import pytest

from xaimed_core.cli import main
from xaimed_core.measure.alternate import Alternation, RevisionError
from xaimed_core.measure.roofs import Card, card_markdown


@pytest.fixture
def checkout(tmp_path):
    """A repository of one file, changed since its only commit."""

    def git(*words):
        identity = ["-c", "user.name=n", "-c", "user.email=e"]
        subprocess.run(["git", "-C", str(tmp_path), *identity, *words], check=True, capture_output=True)

    git("init")
    (tmp_path / "code.py").write_text("old")
    git("add", "code.py")
    git("commit", "-m", "one")
    (tmp_path / "code.py").write_text("changed")
    return tmp_path


def trees(checkout):
    listed = subprocess.run(
        ["git", "-C", str(checkout), "worktree", "list"], capture_output=True, text=True, check=True
    )
    return len(listed.stdout.splitlines())


def test_the_new_side_holds_uncommitted_changes_and_nothing_is_left_behind(checkout):
    with Alternation(checkout, "HEAD", runs=6) as sides:
        assert trees(checkout) == 3
        texts = {name: (tree / "code.py").read_text() for name, tree in sides._trees.items()}
    assert texts == {"base": "old", "new": "changed"}
    assert trees(checkout) == 1
    assert (checkout / "code.py").read_text() == "changed"


def test_processes_alternate_a_b_b_a(checkout, monkeypatch):
    order = []
    monkeypatch.setattr(Alternation, "_process", lambda self, side, *rest: order.append(side))
    with Alternation(checkout, "HEAD", runs=4) as sides:
        base, new = sides.measure()
    assert order == ["base", "new", "new", "base"] * 2
    assert len(base) == len(new) == 4


def test_a_revision_that_does_not_exist_gives_exit_2_and_leaves_nothing(checkout, monkeypatch, capsys):
    monkeypatch.chdir(checkout)
    assert main(["compare", "--base", "nowhere"]) == 2
    assert "rev-parse" in capsys.readouterr().err
    assert trees(checkout) == 1


def test_a_side_without_benches_says_so(checkout):
    with (
        Alternation(checkout, "HEAD", runs=6) as sides,
        pytest.raises(RevisionError, match="measured nothing"),
    ):
        sides.measure()


def test_a_card_shows_every_figure_it_holds():
    card = Card({}, "a-device", 2e11, {"fp32": 5e13}, 4e-6, {"xgradcam": 812.0}, 64)
    text = card_markdown(card)
    for shown in ("a-device", "200.0 GB/s", "50 TFLOP/s", "4.0 µs", "xgradcam, batch 64", "812 images/s"):
        assert shown in text
