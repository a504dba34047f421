"""A model may hold something for each image of the caller's batch: then no row may leave its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tests.tail.conftest import class_drops
from tests.tail.test_guards import Net
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


def weighs_the_fourth(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    """Each image has a number of its own, which is another for one in the middle alone."""
    weights = torch.ones(len(x), dtype=x.dtype).index_fill(0, torch.tensor([min(3, len(x) - 1)]), 5.0)
    return net.late(x) * (weights.view(-1, 1, 1, 1) if len(x) == 5 else 1)


def puts(_net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return torch.zeros_like(x).put(torch.arange(x.numel()).view_as(x), x)


def counts_axes_from_the_last(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return net.late(x.index_select(-4, torch.arange(len(x))))


def writes_by_a_mask(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    y = net.late(x)
    y[y < 0] = 0
    return y


BOUND = {
    "a number of its own": (weighs_the_fourth, 5, "all images of the batch at a time"),
    "entries counted in memory": (puts, 1, "put counts the entries of all images"),
    "entries of several counted": (puts, 3, "put counts the entries of all images"),
    "axes counted from the last": (counts_axes_from_the_last, 1, "index_select picks images by their number"),
    "a mask": (writes_by_a_mask, 3, "lt comes between"),
}


@pytest.mark.parametrize("name", BOUND)
def test_rows_keep_what_is_their_images(
    name: str, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    tail, n, route = BOUND[name]
    model, images = Net(tail).eval(), torch.randn(n, 2, 5, 5)
    exact = logit_drops(model, "layer", images, channels=EVERY)
    for _ in range(2):
        found = class_drops(watch(model, "layer", images))
        assert route in str(found.route)
        assert relative_error(found.drops, exact) <= 2e-4


def swaps_two_in_the_middle(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    y = net.late(x)
    return torch.cat([y[:1], y[1:3].flip(0), y[3:]]) if len(x) > 4 else y


def limits_by_all(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    """Only the third image is so dark that it would be limited alone."""
    return net.late(x) * (100 * x.mean() + 0 * x.amax()).clamp(0, 1)


def runs_no_image_alone(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    y = net.late(x)
    return torch.cat([y[:1], y[1:-1].flip(0), y[-1:]])


def ranks(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    y = net.late(x)
    order = y.mean((1, 2, 3)).argsort()
    weights = torch.arange(1, 1 + len(x), dtype=x.dtype).view(-1, 1, 1, 1)
    return (y[order] * weights)[order.argsort()]


MIXED = {
    "two in the middle": (swaps_two_in_the_middle, 5),
    "a limit": (limits_by_all, 5),
    "one image as two": (runs_no_image_alone, 5),
    "ranks": (ranks, 2),
}


@pytest.mark.parametrize("name", MIXED)
def test_images_that_depend_on_others_are_refused_wherever_they_stand(name: str, watch: Callable) -> None:
    tail, n = MIXED[name]
    images = torch.randn(n, 2, 5, 5)
    images[n // 2] *= 0.05
    model = Net(tail).eval()
    nn.init.constant_(model.layer.bias, -0.3)
    with pytest.raises(ValueError, match="one image's output depends on the other images of the batch"):
        watch(model, "layer", images)


def test_images_that_mix_behind_a_closed_channel_are_refused(watch: Callable) -> None:
    """The channel of the largest values is the one that the ReLU closes: what it loses moves nothing."""
    model = Net(lambda net, x, _stem: (y := net.late(x.relu())) + y.roll(1, 0) / 2).eval()
    with torch.no_grad():
        model.layer.bias[:2] = -50.0
    with pytest.raises(ValueError, match="one image's output depends on the other images of the batch"):
        watch(model, "layer", torch.randn(3, 2, 5, 5))
