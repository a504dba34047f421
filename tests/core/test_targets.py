"""What a caller may pass as targets, and where logits are found in an output."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from xaimed_core import explain
from xaimed_core.targets import ClassTargets, FunctionTargets, logits_of, resolve_targets

LOGITS = torch.tensor([[0.1, 0.9, 0.5], [2.0, 1.0, 0.0]])


@pytest.mark.parametrize(
    ("given", "index"),
    [
        (None, [1, 0]),
        (2, [2, 2]),
        ([0, 2], [0, 2]),
        (torch.tensor([0, 2]), [0, 2]),
        (torch.tensor(1), [1, 1]),
        (np.array([1, 0]), [1, 0]),
    ],
    ids=str,
)
def test_classes_are_resolved_per_image(given, index):
    found = resolve_targets(given, LOGITS)
    assert isinstance(found, ClassTargets)
    assert found.index.tolist() == index
    torch.testing.assert_close(found.score(LOGITS, torch.arange(2)), LOGITS[torch.arange(2), index])


def test_a_function_scores_each_row_by_its_image():
    found = resolve_targets([lambda row: row[0], lambda row: row[1] - row[2]], LOGITS)
    assert isinstance(found, FunctionTargets)
    rows = LOGITS[[1, 0, 1]]
    assert found.score(rows, torch.tensor([1, 0, 1])).tolist() == pytest.approx([1.0, 0.1, 1.0])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x: x,
        lambda x: {"logits": x, "aux": None},
        lambda x: {"out": x},
        lambda x: (x, None),
        lambda x: SimpleNamespace(logits=x),
        lambda x: [{"logits": x}],
    ],
)
def test_logits_are_found_in_common_outputs(net, images, wrap):
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = net

        def forward(self, x: Tensor) -> object:
            return wrap(self.inner(x))

    assert logits_of(wrap(LOGITS)) is LOGITS
    expected = explain(net, images, ("xgradcam", "ablationcam"), "block")
    found = explain(Wrapped(), images, ("xgradcam", "ablationcam"), "inner.block")
    for method, maps in expected.maps.items():
        assert maps.std() > 0.05
        torch.testing.assert_close(found.maps[method], maps, rtol=0, atol=1e-5)
