"""Every table in the README and docs is what the report prints of a committed result, and the README's code runs."""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torchvision.transforms.functional import to_pil_image

import xaimed_bench.data
import xaimed_bench.models
from xaimed_bench.data import load_images, phantoms
from xaimed_bench.models import build_model
from xaimed_reports.format import machine_line
from xaimed_reports.show.markdown import SECTIONS, markdown
from xaimed_reports.store.load import load
from xaimed_reports.study.evaluation import load as load_evaluation
from xaimed_reports.study.report import report_in_short

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r"<!-- begin results: (?P<file>\S+)(?: (?P<section>\S+))? -->\n(?P<shown>.*?)\n<!-- end results -->",
    re.DOTALL,
)
ROWS = re.compile(r"<!-- begin rows: (?P<file>\S+) -->\n(?P<shown>.*?)\n<!-- end rows -->", re.DOTALL)
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
BLOCKS = [
    (page.relative_to(ROOT).as_posix(), found["file"], found["section"] or "all", found["shown"])
    for page in PAGES
    for found in BLOCK.finditer(page.read_text())
]
STUDIES = [
    (f"{page.relative_to(ROOT).as_posix()}: {found[1]}", found[1], found[2])
    for page in PAGES
    for found in re.finditer(
        r"<!-- begin study: (\S+) -->\n(.*?)\n<!-- end study -->", page.read_text(), re.DOTALL
    )
]


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_the_readmes_table_repeats_rows_of_a_committed_result():
    """Its first column says in a word what the case is; every other cell is one of the full table."""
    (block,) = ROWS.finditer((ROOT / "README.md").read_text())
    run = load(ROOT / block["file"])
    lines = [line for line in markdown(run).splitlines() if line.startswith("| ")]
    known = {row[0]: dict(zip(cells(lines[0]), row, strict=True)) for row in map(cells, lines)}
    table, machine = block["shown"].split("\n\n")
    head, _, *rows = map(cells, table.splitlines())
    assert len(rows) == 5
    for row in rows:
        shown = dict(zip(head, row, strict=True))
        assert {name: known[shown["case"]][name] for name in head[1:]} == dict(list(shown.items())[1:])
    assert machine == machine_line(run)


@pytest.mark.parametrize(
    ("page", "file", "section", "shown"),
    BLOCKS,
    ids=[f"{page}: {file} {part}" for page, file, part, _ in BLOCKS],
)
def test_a_table_is_what_the_report_prints(page, file, section, shown):
    assert shown.strip() == SECTIONS[section](load(ROOT / file)).strip()


@pytest.mark.parametrize(("file", "shown"), [each[1:] for each in STUDIES], ids=[each[0] for each in STUDIES])
def test_a_study_is_what_the_report_prints(file, shown):
    assert shown.strip() == report_in_short(load_evaluation(ROOT / file)).strip()


def test_the_readme_quotes_the_study():
    results = ROOT / "reports/results/amd-epyc-1-thread"
    found, larger = (load_evaluation(results / f"study-{name}.json") for name in ("vgg16", "lite0"))
    smaller = load_evaluation(ROOT / "reports/results/intel-xeon-1-thread/study-lite0.json")
    road = {
        m: found.cell("last", m, "road").mean for m in ("ablationcam", "xgradcam", "gradcam++", "layercam")
    }
    edges = found.cell("", "edges", "road").mean
    before = {
        m: [f"{study.cell('before', m, 'road').mean:.3f}" for study in (smaller, larger)]
        for m in ("ablationcam", "xgradcam")
    }
    right = json.loads((results / "training-vgg16.json").read_text())["scores"][0]["accuracy"]
    text = " ".join((ROOT / "README.md").read_text().split())
    for said in (
        f"on {found.images} test images of a VGG-16 that is right about {right:.1%}".replace("%", " %"),
        f"AblationCAM reaches {road['ablationcam']:.3f} and XGradCAM {road['xgradcam']:.3f}",
        f"nothing of the network reaches {edges:.3f}",
        f"it reaches {' and '.join(before['ablationcam'])} there, and XGradCAM {' and '.join(before['xgradcam'])}",
    ):
        assert said in text
    assert max(road["gradcam++"], road["layercam"]) < 0.09


CODE = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


@pytest.mark.filterwarnings("ignore:every .* map is empty:UserWarning")
def test_every_line_of_the_readmes_code_runs_and_gives_what_its_comments_say(tmp_path, monkeypatch, capsys):
    (tmp_path / "scans").mkdir()
    for i, pixels in enumerate(phantoms("mri", 4, size=64).pixels):
        to_pil_image(pixels).save(tmp_path / "scans" / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    small = build_model("resnet18", classes=4)
    monkeypatch.setattr(xaimed_bench.models, "build_model", lambda name, classes: small)
    monkeypatch.setattr(xaimed_bench.data, "load_images", partial(load_images, size=64))
    names: dict[str, Any] = {}
    for block in CODE:
        exec(block, names)
    assert names["e"].maps["ablationcam"].shape == (4, 64, 64)
    assert (tmp_path / "overlays.png").is_file()
    said = capsys.readouterr().out
    assert "closed-form" in said
    assert "| ablationcam |" in said
