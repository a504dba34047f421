"""The site of docs/ builds without a warning, and every recipe on it runs."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from torchvision.models import resnet18
from torchvision.transforms.functional import to_pil_image

import xaimed_bench.data
import xaimed_bench.models
from xaimed_bench.data import load_images, phantoms

ROOT = Path(__file__).parents[2]
CODE = re.compile(r"```python(?: title=\"(?P<title>[^\"]*)\")?\n(?P<code>.*?)```", re.DOTALL)


def test_the_site_builds_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    api = (tmp_path / "api/index.html").read_text()
    for name in ("explain", "Explanation", "road", "road_table", "evaluate", "METRICS"):
        assert re.search(rf">{name}<", api), name
    assert "<li><strong>targets</strong>: the score explained" in re.sub(r"<p>|</p>|(?<=<li>)\n", "", api)
    assert (tmp_path / "reports/results/intel-xeon-2-threads/tradeoff-resnet18.svg").is_file()


def test_a_page_without_its_target_fails_the_build(tmp_path):
    """The strictness is real: links out of docs/ are looked up, too."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/index.md").write_text("# Page\n\n[gone](../reports/gone.md)\n")
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nhooks: [{ROOT / 'docs/tools/links.py'}]\n")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=tmp_path, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    assert "reports/gone.md" in done.stdout + done.stderr


@pytest.fixture
def given(page, tmp_path, monkeypatch) -> dict[str, Any]:
    """What a page takes for granted: a folder of class folders, and networks."""
    made = phantoms("mri", 4)
    for i, pixels in enumerate(made.pixels):
        file = tmp_path / "scans" / ("glioma", "none")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(pixels).save(file)
    monkeypatch.chdir(tmp_path)
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    small = resnet18(
        num_classes=3
    ).eval()  # stands for the networks of a page, at a size that is quickly scored
    monkeypatch.setattr(xaimed_bench.models, "build_model", lambda name, classes: small)
    if page == "index.md":
        monkeypatch.setattr(xaimed_bench.data, "load_images", partial(load_images, size=64))
    gray = resnet18(num_classes=3).eval()
    gray.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    return {"model": small, "gray_model": gray}


@pytest.mark.filterwarnings("ignore:every .* map is empty:UserWarning")
@pytest.mark.parametrize("page", ["index.md", "recipes.md"])
def test_every_recipe_runs(page, given, tmp_path):
    """All but those that need a library to read a format: they end in arrays, which another recipe takes."""
    text = (ROOT / "docs" / page).read_text()
    for found in CODE.finditer(text):
        if not (found["title"] or "").startswith("needs "):
            exec(found["code"], given)
    assert (tmp_path / "overlays.png").is_file() or len(list((tmp_path / "overlays").glob("*.png"))) == 4
