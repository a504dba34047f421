"""docs/methods-and-packages.md says what `METHODS`, grad-cam and torch-cam hold."""

import captum.attr
import pytorch_grad_cam
import torchcam.methods
from torch import nn

from tests.docs.methods_page import BLOCK, CAPTUM, PAGE, TORCHCAM, table
from xaimed_core import METHODS


def test_the_table_is_made_of_the_methods():
    block = BLOCK.search(PAGE.read_text())
    assert block is not None
    assert block[2] == table(), "run python -m tests.docs.methods_page"


def test_every_class_that_is_named_is_there():
    assert all(hasattr(pytorch_grad_cam, method.oracle) for method in METHODS.values())
    assert all(hasattr(torchcam.methods, name) for name in TORCHCAM.values())
    assert all(hasattr(captum.attr, name) for name in CAPTUM.values())
    assert set(TORCHCAM) | set(CAPTUM) <= set(METHODS)


def test_no_class_of_the_other_packages_is_left_out():
    page = PAGE.read_text()
    classes = {
        n for n, v in vars(torchcam.methods).items() if isinstance(v, type) and hasattr(v, "compute_cams")
    }
    assert classes
    assert [name for name in classes if f"`{name}`" not in page] == []
    defined = {n: v for n, v in vars(pytorch_grad_cam).items() if isinstance(v, type)}
    cams = {n for n, v in defined.items() if not issubclass(v, nn.Module) and "Layer" not in n}
    assert [name for name in cams - {"ActivationsAndGradients"} if name not in page] == []
