"""What `pip install .` brings is enough for the library; what is missing for the rest is said in one line."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.core.conftest import AT_ONE_LAYER

ROOT = Path(__file__).parents[2]
EXTRAS = (
    "PIL", "jinja2", "matplotlib", "msgspec", "pynvml", "pytest", "pytest_benchmark", "pytorch_grad_cam", "rich",
    "safetensors", "scipy", "torchvision", "tqdm", "cv2", "captum", "torchcam",
)  # fmt: skip
"""Packages of the extras, and those that come with them."""

HIDE = f"""
import sys
sys.path[:0] = {[str(ROOT), *(str(ROOT / folder) for folder in ("kernels", "reports", "bench"))]!r}
class Hiding:
    def __init__(self, finder):
        self.finder = finder
    def find_spec(self, name, *rest):
        return None if name.partition(".")[0] in {EXTRAS!r} else self.finder.find_spec(name, *rest)
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""
"""The start of a process in which nothing of the extras can be imported."""

NET = """
import torch
from torch import nn
torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()
images = torch.rand(2, 3, 12, 12)
"""
EXPLAINED = (
    NET
    + """
from xaimed_core import METHODS, explain
from xaimed_core.methods import Attention
of_any = [method for method in METHODS.values() if not isinstance(method.kind, Attention)]
methods = [method.name for method in of_any if method.places != "layers"]
found = explain(net, images, methods, "1", progress=False)
"""
)


def bare(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", HIDE + code], capture_output=True, text=True, check=False, cwd=ROOT
    )


def last_line(code: str) -> str:
    """Of what a process without the extras prints, or of its traceback."""
    done = bare(code)
    return (done.stdout + done.stderr).strip().splitlines()[-1]


def test_an_install_without_extras_brings_four_packages():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = [re.split(r"[ ;<>=!~]", line, maxsplit=1)[0] for line in project["dependencies"]]
    assert sorted(names) == ["numba", "numpy", "torch", "triton"]
    (triton,) = (line for line in project["dependencies"] if line.startswith("triton"))
    assert triton.endswith("platform_system == 'Linux'")


def test_nothing_of_the_extras_can_be_imported_there():
    tried = "".join(
        f"""
try:
    import {name}
    print("{name}")
except ModuleNotFoundError:
    pass
"""
        for name in EXTRAS
    )
    done = bare(tried)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_method_explains_and_every_metric_scores():
    code = (
        EXPLAINED
        + """
from xaimed_core import METRICS, evaluate, road, road_table
for name in METRICS:
    evaluate(name, net, images, found.maps["xgradcam"], progress=False)
road(net, images, found.maps["xgradcam"], progress=False)
print(road_table(net, images, found, progress=False).to_markdown().count("(baseline)"), len(methods))
"""
    )
    methods = len(AT_ONE_LAYER)
    assert last_line(code) == f"{2 + methods} {methods}"


def test_what_is_compatible_with_grad_cam_needs_nothing_of_it():
    code = (
        NET
        + """
import numpy as np
from xaimed_core import compat
from xaimed_core.compat.metrics.cam_mult_image import CamMultImageConfidenceChange
from xaimed_core.compat.metrics.road import ROADCombined
from xaimed_core.compat.utils.image import show_cam_on_image
from xaimed_core.compat.utils.model_targets import ClassifierOutputTarget, FasterRCNNBoxScoreTarget
targets = [ClassifierOutputTarget(0)] * 2
cams = [getattr(compat, name) for name in compat.__all__ if name.endswith(("CAM", "PlusPlus"))]
for cam in cams:
    maps = cam(model=net, target_layers=[net[1]])(input_tensor=images, targets=targets)
ROADCombined([20, 80])(images, maps, targets, net)
CamMultImageConfidenceChange()(images, maps, targets, net)
show_cam_on_image(images[0].permute(1, 2, 0).numpy(), maps[0])
box = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
print(len(cams), float(FasterRCNNBoxScoreTarget([1], box.numpy())(
    {"boxes": box, "labels": torch.tensor([1]), "scores": torch.tensor([0.5])})))
"""
    )
    count, score = last_line(code).split()
    assert int(count) >= 8
    assert float(score) == 1.5


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("found.show(images)", "figures need matplotlib, which is not installed: pip install matplotlib"),
        (
            "from xaimed_core import road_table\nroad_table(net, images, found, progress=False).figure()",
            "figures need matplotlib, which is not installed: pip install matplotlib",
        ),
        (
            "from xaimed_kernels.impute import impute\n"
            "impute(images, images[:, 0] > 0.5, backend='reference')",
            'backend="reference" needs SciPy, which is not installed: pip install scipy, or leave backend out',
        ),
    ],
)
def test_what_needs_more_says_what_to_install(code, says):
    assert last_line(EXPLAINED + code) == f"ModuleNotFoundError: {says}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["report", "tests/reports/golden/schema-2.json"],
        ["report", "tests/reports/golden/schema-2.json", "--html", "/dev/null"],
        ["compare", "tests/reports/golden/schema-2.json", "tests/reports/golden/schema-2.json"],
        ["compare", "--base", "HEAD"],
        ["trial"],
        ["profile", "--only", "roofs", "--out", "/nowhere"],
    ],
    ids=" ".join,
)
def test_a_command_without_the_extra_says_in_one_line_what_to_install(arguments):
    done = bare(f"from xaimed_bench.cli import main; sys.exit(main({arguments!r}))")
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"xaimed {arguments[0]}: not installed: ")
    assert line.endswith("; type pip install 'xaimed[bench]'")


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["doctor"]], ids=" ".join)
def test_help_and_the_doctor_need_no_extra(arguments):
    done = bare(f"from xaimed_bench.cli import main; sys.exit(main({arguments!r}))")
    assert done.returncode in (0, 1), done.stderr
    assert "xaimed" in done.stdout
