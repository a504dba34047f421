"""A model may hold something for each image of the caller's batch: then no row may leave its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.tail.conftest import class_drops
from xaimed_core import explain

EVERY = list(range(6))


class WithSide(nn.Module):
    """Images, and a row of numbers for each of them that the wrapper holds, as for patients' ages."""

    def __init__(self, side: Tensor, head: Callable[[Tensor, Tensor], Tensor], classes: int) -> None:
        super().__init__()
        self.stem, self.layer = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.late = nn.Conv2d(6, 6, 3, padding=1)
        self.last = nn.Linear(6 + classes, 4)
        self.side, self.head = side, head

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.late(torch.relu(self.layer(self.stem(images))))).mean((2, 3))
        return self.last(self.head(x, self.side.to(x.dtype)))


HEADS = {
    "all rows": lambda x, side: torch.cat([x, x.new_ones(len(x), 1) * side], 1),
    "as many rows as come": lambda x, side: torch.cat([x * (1 + side[: len(x)]), side[: len(x)]], 1),
}


@pytest.mark.parametrize("n", [1, 2, 3, 40])
@pytest.mark.parametrize("head", HEADS)
def test_ablated_rows_keep_the_side_input_of_their_image(
    head: str, n: int, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model = WithSide(torch.randn(n, 1), HEADS[head], 1).eval()
    images = torch.randn(n, 2, 7, 7)
    exact = logit_drops(model, "layer", images, channels=EVERY)
    for _ in range(2):
        found = class_drops(watch(model, "layer", images))
        assert relative_error(found.drops, exact) <= 2e-4, found.route


def test_a_side_input_set_between_calls_is_seen(
    watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model = WithSide(torch.zeros(4, 1), HEADS["as many rows as come"], 1).eval()
    images = torch.randn(4, 2, 7, 7)
    class_drops(watch(model, "layer", images))
    model.side = torch.randn(4, 1)
    exact = logit_drops(model, "layer", images, channels=EVERY)
    assert relative_error(class_drops(watch(model, "layer", images)).drops, exact) <= 2e-4


def test_scorecam_keeps_it_too() -> None:
    n = 5
    model = WithSide(torch.randn(n, 1), HEADS["all rows"], 1).double().eval()
    images = torch.randn(n, 2, 7, 7, dtype=torch.float64)
    together = explain(model, images, "scorecam", "layer", targets=1).weights["scorecam"]
    side = model.side
    for i in range(n):
        model.side = side[i : i + 1]
        alone = explain(model, images[i : i + 1], "scorecam", "layer", targets=1).weights["scorecam"]
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-6)
