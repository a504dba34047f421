"""docs/methods-and-packages.md says what `METHODS`, grad-cam and torch-cam hold."""

import pytest
from torch import nn

from tests.docs.methods_page import BLOCK, CAPTUM, PAGE, TORCHCAM, table
from xaimed_core import METHODS

pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam", reason="grad-cam is not installed")
captum_attr = pytest.importorskip("captum.attr", reason="Captum is not installed")
torchcam_methods = pytest.importorskip("torchcam.methods", reason="torch-cam is not installed")


def test_the_table_is_made_of_the_methods():
    block = BLOCK.search(PAGE.read_text())
    assert block is not None
    assert block[2] == table(), "run python -m tests.docs.methods_page"


def test_every_class_that_is_named_is_there():
    assert all(hasattr(pytorch_grad_cam, method.oracle) for method in METHODS.values() if method.oracle)
    assert all(hasattr(torchcam_methods, name) for name in TORCHCAM.values())
    assert all(hasattr(captum_attr, name) for name in CAPTUM.values())
    assert set(TORCHCAM) | set(CAPTUM) <= set(METHODS)


def test_no_class_of_the_other_packages_is_left_out():
    page = PAGE.read_text()
    classes = {
        n for n, v in vars(torchcam_methods).items() if isinstance(v, type) and hasattr(v, "compute_cams")
    }
    assert classes
    assert [name for name in classes if f"`{name}`" not in page] == []
    defined = {n: v for n, v in vars(pytorch_grad_cam).items() if isinstance(v, type)}
    cams = {n for n, v in defined.items() if not issubclass(v, nn.Module) and "Layer" not in n}
    assert [name for name in cams - {"ActivationsAndGradients"} if name not in page] == []
