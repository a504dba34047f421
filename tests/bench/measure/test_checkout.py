"""Git, asked about a folder's own repository, whatever the environment and its messages hold."""

import pytest

from xaimed_bench.measure.checkout import RevisionError, commit_of, git, revision
from xaimed_bench.running.alternate import gate_process


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A repository of one commit."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "n")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "e")
    git(tmp_path, "init", "checkout")
    git(tmp_path / "checkout", "commit", "--allow-empty", "-m", "one")
    return tmp_path / "checkout"


def test_a_hook_of_another_repository_does_not_name_the_commit(checkout, tmp_path, monkeypatch):
    git(tmp_path, "init", "other")
    git(tmp_path / "other", "commit", "--allow-empty", "-m", "another")
    here = revision(checkout)
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "other/.git/index"))
    assert here is not None
    assert revision(checkout) == here


def test_a_commit_that_is_not_here_is_named_with_what_to_do(checkout, tmp_path):
    assert commit_of(checkout, "HEAD").startswith(revision(checkout))
    with pytest.raises(RevisionError, match=r"no commit 'origin/main' here: .* fetch it"):
        commit_of(checkout, "origin/main")
    (tmp_path / "none").mkdir()
    with pytest.raises(RevisionError, match="not a git repository"):
        commit_of(tmp_path / "none", "HEAD")


def test_what_is_no_utf_8_in_a_process_output_ends_nothing(checkout, tmp_path):
    (checkout / "bench").mkdir()
    (checkout / "bench/bench_cam.py").write_text(r"import os; os.write(1, b'\xe9\n'); os._exit(3)")
    with pytest.raises(RevisionError, match=r"measured nothing \(exit code 3\)"):
        gate_process(checkout, tmp_path / "run.json", "-s", name="base")
