"""The steps that post the comment, as the workflow and docs/tracking.md have them, run against made platforms."""

import json
import os
import re
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
import yaml

from xaimed_reports.compare.comment import MARKER

ROOT = Path(__file__).parents[3]
GH = """#!/usr/bin/env python3
import json, os, sys
words, kept = sys.argv[1:], json.load(open("comments.json"))
body = [w.removeprefix("body=@") for w in words if w.startswith("body=@")]
if "FORK" in os.environ and body:
    sys.exit("HTTP 403")
if not body:
    assert "--paginate" in words
    mine = [c for c in kept if c["user"] == "github-actions[bot]" and c["body"].startswith(os.environ["MARKER"])]
    print(*[c["id"] for c in mine], sep="\\n")
elif "PATCH" in words:
    (old,) = [c for c in kept if words[3].endswith(f"issues/comments/{c['id']}")]
    old["body"] = open(body[0]).read()
else:
    kept.append({"id": len(kept) + 1, "user": "github-actions[bot]", "body": open(body[0]).read()})
json.dump(kept, open("comments.json", "w"))
"""
CURL = """#!/usr/bin/env python3
import json, sys
words, kept = sys.argv[1:], json.load(open("comments.json"))
body = [w.removeprefix("body@") for w in words if w.startswith("body@")]
if "POST" in words:
    kept.append({"id": len(kept) + 1, "body": open(body[0]).read()})
elif "PUT" in words:
    (old,) = [c for c in kept if words[-1].endswith(f"notes/{c['id']}")]
    old["body"] = open(body[0]).read()
else:
    print(json.dumps(kept))
json.dump(kept, open("comments.json", "w"))
"""


def of_github():
    steps = yaml.safe_load((ROOT / ".github/workflows/gate.yml").read_text())["jobs"]["cpu"]["steps"]
    (step,) = [step for step in steps if step.get("name") == "one comment, updated in place"]
    return step["run"]


def of_gitlab():
    page = (ROOT / "docs/tracking.md").read_text()
    (block,) = re.findall(r'```yaml title="needs GitLab"\n(.*?)```', page, re.DOTALL)
    (script,) = yaml.safe_load(block)["xaimed"]["after_script"]
    return script


@pytest.fixture
def post(tmp_path):
    """Runs a step as the platform does, with a made client of it; the comments are a file."""
    for name, code in (("gh", GH), ("curl", CURL)):
        (tmp_path / name).write_text(textwrap.dedent(code))
        (tmp_path / name).chmod(0o755)
    others = {"id": 1, "user": "someone", "body": "a question about the xaimed compare"}
    (tmp_path / "comments.json").write_text(json.dumps([others]))

    def post(script, **more):
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "MARKER": MARKER,
            "GITHUB_REPOSITORY": "a/b",
            "PR": "7",
            "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
            "COMMENT_TOKEN": "x",
            "CI_API_V4_URL": "https://gitlab",
            "CI_PROJECT_ID": "1",
            "CI_MERGE_REQUEST_IID": "7",
        }
        done = subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=tmp_path, env=environment | more, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return [c["body"] for c in json.loads((tmp_path / "comments.json").read_text())], done.stdout

    return post


PLATFORMS = [
    pytest.param(of_github, id="github"),
    pytest.param(
        of_gitlab,
        id="gitlab",
        marks=pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed"),
    ),
]


@pytest.mark.parametrize("script", PLATFORMS)
def test_there_is_one_comment_and_it_is_updated_in_place(script, post, tmp_path):
    for text in ("first", "second"):
        (tmp_path / "comment.md").write_text(f"{MARKER}\n{text}\n")
        bodies, _ = post(script())
    assert len(bodies) == 2
    assert bodies[0].startswith("a question"), "another's comment is left alone"
    assert bodies[1] == f"{MARKER}\nsecond\n"


@pytest.mark.parametrize("script", PLATFORMS)
def test_where_nothing_was_measured_the_comment_says_so_instead_of_what_was_found_before(
    script, post, tmp_path
):
    (tmp_path / "comment.md").write_text(f"{MARKER}\nnothing slower\n")
    post(script())
    (tmp_path / "comment.md").unlink()
    bodies, _ = post(script())
    assert len(bodies) == 2
    assert bodies[1].startswith(f"{MARKER}\n### xaimed: nothing was measured")


def test_a_fork_that_may_not_comment_leaves_it_in_the_summary(post, tmp_path):
    (tmp_path / "comment.md").write_text(f"{MARKER}\nfound\n")
    bodies, said = post(of_github(), FORK="1")
    assert len(bodies) == 1
    assert "::warning::no comment" in said
    assert "found" in (tmp_path / "summary.md").read_text()
