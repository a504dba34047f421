"""Quantised heads: packed parameters, 8-bit values, whole numbers by hand; exact, or refused by name."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.tail.conftest import Headed, brute_force, class_drops
from xaimed_core import explain
from xaimed_core.tail.run.mechanisms import ByPlan

pytestmark = [
    # torch moves these to other packages; networks that people have were quantised with them
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, torch.quantize_per_channel"),
    # of the ranges that torch's own default observers choose
    pytest.mark.filterwarnings("ignore:Please use quant_min and quant_max"),
]


def float_head() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(54, 16), nn.ReLU(), nn.Linear(16, 4)).eval()


def quantised(dtype: torch.dtype) -> nn.Module:
    """A head with packed parameters, objects of TorchScript that have no ``==``."""
    return Headed(torch.ao.quantization.quantize_dynamic(float_head(), {nn.Linear}, dtype)).eval()


def quantised_wholly() -> nn.Module:
    """A head whose values are 8-bit tensors with a scale chosen beforehand."""
    ao = torch.ao.quantization
    head = nn.Sequential(ao.QuantStub(), *float_head(), ao.DeQuantStub()).eval()
    head.qconfig = ao.get_default_qconfig("x86")
    ao.prepare(head, inplace=True)
    head(torch.randn(16, 6, 3, 3).relu())
    return Headed(ao.convert(head)).eval()


class Int8(nn.Module):
    """Whole numbers as weights; ``rows``: and whole numbers as what they meet, scaled row by row."""

    def __init__(self, rows: bool) -> None:
        super().__init__()
        self.register_buffer("whole", torch.randint(-128, 128, (4, 54), dtype=torch.int8))
        self.register_buffer("scale", torch.rand(4, 1) / 50)
        self.rows = rows

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if not self.rows:
            return nn.functional.linear(x, self.whole.to(x.dtype) * self.scale)
        size = x.abs().amax(1, keepdim=True) / 127
        whole = (x / size).round().to(torch.int8).int()
        return (whole.unsqueeze(1) * self.whole.int()).sum(2).to(x.dtype) * size * self.scale.t()


QUANTISED: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    "packed float16 weights": (lambda: quantised(torch.float16), 3, "replay: no rule"),
    "packed int8 weights": (
        lambda: quantised(torch.qint8),
        1,
        "module rerun, row by row: quantized.linear_dynamic ",
    ),
    "8-bit values": (quantised_wholly, 3, "module rerun: a tensor of another kind (torch.quint8)"),
    "int8 weights by hand": (lambda: Headed(Int8(rows=False)).eval(), 3, "closed-form: "),
    "int8 rows by hand": (lambda: Headed(Int8(rows=True)).eval(), 3, "replay: no rule carries"),
}


@pytest.mark.parametrize("again", [False, True], ids=["first call", "second call"])
@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_heads_give_the_drops_of_brute_force(
    name: str, again: bool, watch: Callable, relative_error: Callable
) -> None:
    build, n, route = QUANTISED[name]
    model, images = build(), torch.randn(n, 2, 5, 5)
    if again:
        watch(model, "layer", torch.randn(n, 2, 5, 5))
    found = class_drops(watch(model, "layer", images))
    assert str(found.route).startswith(route)
    assert relative_error(found.drops, brute_force(model, images)) <= 1e-5


def test_ablationcam_explains_a_quantised_head() -> None:
    explanation = explain(quantised(torch.qint8), torch.randn(1, 2, 5, 5), "ablationcam", "layer")
    assert "quantized.linear_dynamic chooses its scale from all rows together" in str(
        explanation.route["ablationcam"]
    )


def test_other_packed_weights_are_another_tail(watch: Callable, relative_error: Callable) -> None:
    model, images = quantised(torch.float16), torch.randn(2, 2, 5, 5)
    watch(model, "layer", images)
    torch.manual_seed(1)
    model.head = quantised(torch.float16).head
    found = watch(model, "layer", images)
    assert isinstance(found.mechanism, ByPlan)
    assert relative_error(class_drops(found).drops, brute_force(model, images)) <= 1e-5


def test_a_batch_that_shares_its_scale_is_refused_by_the_operations_name(watch: Callable) -> None:
    message = r"depends on the other images of the batch \(quantized.linear_dynamic chooses its scale"
    with pytest.raises(ValueError, match=message):
        watch(quantised(torch.qint8), "layer", torch.randn(3, 2, 5, 5))


def test_a_gradient_that_stops_at_a_quantised_layer_is_refused_even_where_another_way_goes_on():
    class TwoWays(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.way = nn.Conv2d(2, 6, 3), nn.Linear(54, 4)
            self.quantised = torch.ao.quantization.quantize_dynamic(float_head(), {nn.Linear}, torch.qint8)

        def forward(self, images: Tensor) -> Tensor:
            found = torch.relu(self.layer(images))
            return self.way(found.flatten(1)) + self.quantised(found)

    with pytest.raises(ValueError, match=r"operation that has no gradient.*eigencam"):
        explain(TwoWays().eval(), torch.randn(2, 2, 5, 5), "xgradcam", "layer")
