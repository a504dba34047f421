"""The site of docs/ builds without a warning, and every recipe on it runs."""

import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pydicom
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
    assert (tmp_path / "reports/results/static.json").is_file()


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


def write_scans(folder: Path) -> None:
    """A DICOM file with a window, and a NIfTI volume whose axes are turned, as scanners leave them."""
    values = np.random.default_rng(0).integers(0, 4096, (80, 64), dtype=np.uint16)
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    file.SOPClassUID = file.file_meta.MediaStorageSOPClassUID = pydicom.uid.CTImageStorage
    file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    file.PhotometricInterpretation = "MONOCHROME1"
    file.Rows, file.Columns = values.shape
    file.SamplesPerPixel, file.BitsAllocated, file.BitsStored, file.HighBit = 1, 16, 12, 11
    file.PixelRepresentation, file.RescaleSlope, file.RescaleIntercept = 0, 1, -1024
    file.WindowCenter, file.WindowWidth = 40, 400
    file.PixelData = values.tobytes()
    file.save_as(folder / "scan.dcm", enforce_file_format=True)
    turned = np.array([[0, 0, 2.0, 0], [-1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    nibabel.save(
        nibabel.Nifti1Image(values.reshape(20, 16, 16).astype("float32"), turned), folder / "scan.nii.gz"
    )


@pytest.fixture
def given(page, tmp_path, monkeypatch) -> dict[str, Any]:
    """What a page takes for granted: a folder of class folders, and networks."""
    made = phantoms("mri", 4)
    for i, pixels in enumerate(made.pixels):
        file = tmp_path / "scans" / ("glioma", "none")[i % 2] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        to_pil_image(pixels).save(file)
    write_scans(tmp_path)
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
    text = (ROOT / "docs" / page).read_text()
    for found in CODE.finditer(text):
        exec(found["code"], given)
    assert (tmp_path / "overlays.png").is_file() or len(list((tmp_path / "overlays").glob("*.png"))) == 4
