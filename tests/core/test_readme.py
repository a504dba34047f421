"""Every table in the README and docs is what the report prints of a committed result, and the README's code runs."""

import re
from pathlib import Path
from typing import Any

import pytest

from xaimed_bench.data import phantoms
from xaimed_bench.models import build_model
from xaimed_reports.show.markdown import SECTIONS
from xaimed_reports.store.load import load
from xaimed_reports.tradeoff.tradeoff_figure import drawn

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"<!-- begin results: (?P<file>\S+)(?: (?P<section>\S+))? -->\n(?P<shown>.*?)\n<!-- end results -->",
    re.DOTALL,
)
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCKS = [
    (page.relative_to(ROOT).as_posix(), found["file"], found["section"] or "all", found["shown"])
    for page in PAGES
    for found in BLOCK.finditer(page.read_text())
]
PICTURES = [
    (page.parent / found).resolve()
    for page in PAGES
    for found in re.findall(r"!\[[^]]*\]\(([^)]+\.svg)\)", page.read_text())
]


def test_the_readme_shows_a_committed_result():
    assert any(page == "README.md" for page, *_ in BLOCKS)


@pytest.mark.parametrize(
    ("page", "file", "section", "shown"),
    BLOCKS,
    ids=[f"{page}: {file} {part}" for page, file, part, _ in BLOCKS],
)
def test_a_table_is_what_the_report_prints(page, file, section, shown):
    assert shown.strip() == SECTIONS[section](load(ROOT / file)).strip()


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_what_the_report_draws(picture):
    stem = picture.name.rpartition("-")[0]
    (file,) = picture.parent.glob(f"{stem}.json*")
    assert picture.read_text() == drawn(load(file), stem)[picture.name]


CODE = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.filterwarnings("ignore:every .* map is empty:UserWarning")
def test_every_line_of_the_readmes_code_runs_and_gives_what_its_comments_say(capsys):
    images = phantoms("mri", 2, size=64).images
    names: dict[str, Any] = {"model": build_model("resnet18", classes=4), "images": images}
    for block in CODE:
        exec(block, names)
    assert names["maps"].shape == (2, 64, 64)
    assert names["e"].maps["ablationcam"].shape == (2, 64, 64)
    assert names["e"].reason["ablationcam"] == ("", "")
    assert names["r"].scored_for == "the targets that the maps explain"
    assert "| ablationcam |" in capsys.readouterr().out
