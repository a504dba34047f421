"""Channels that a flattening left interleaved, as every network converted from Keras has them before its head."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from tests.tail.conftest import class_drops
from xaimed_core.tail.carry.rules import Site
from xaimed_core.tail.carry.rules.reshaping import reshape
from xaimed_core.tail.carry.values import Block
from xaimed_core.tail.record.calls import Call, Value
from xaimed_core.tail.run.mechanisms import ByPlan
from xaimed_core.targets import ClassTargets, ContrastTargets, FunctionTargets

CHANNELS = 6

HEADS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "one linear layer": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(150, 5)), "closed-form: "),
    "no bias": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(150, 5, bias=False)), "closed-form: "),
    "dropout": (lambda: nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(150, 5)), "closed-form: "),
    "three linear layers": (
        lambda: nn.Sequential(
            nn.Flatten(), nn.Linear(150, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5)
        ),
        "delta(1 linear) + replay: relu",
    ),
    "a linear layer for every row": (
        lambda: nn.Sequential(nn.Flatten(2), nn.Linear(30, 8), nn.GELU(), nn.Flatten(), nn.Linear(40, 5)),
        "delta(1 linear) + replay: gelu",
    ),
    "a normalisation first": (
        lambda: nn.Sequential(nn.Flatten(), nn.LayerNorm(150), nn.Linear(150, 5)),
        "replay: no rule carries the change of one channel through native_layer_norm",
    ),
    "a convolution of the flattened rows": (
        lambda: nn.Sequential(
            nn.Flatten(1, 2), nn.Conv1d(25, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5)
        ),
        "replay: no rule carries the change of one channel through convolution",
    ),
}


class Keras(nn.Module):
    """A convolution, and a head that reads ``[n, h, w, c]`` flattened."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.layer = nn.Conv2d(2, CHANNELS, 3)
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        return self.head(torch.relu(self.layer(images)).permute(0, 2, 3, 1))


@pytest.mark.parametrize("value", ["zero", "mean"])
@pytest.mark.parametrize("name", HEADS)
def test_a_head_of_interleaved_channels_gives_the_drops_of_brute_force(
    name: str, value: str, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    head, route = HEADS[name]
    model, images = Keras(head()).eval(), torch.randn(3, 2, 7, 7)
    tail = watch(model, "layer", images)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    exact = logit_drops(model, "layer", images, channels=list(range(CHANNELS)), value=value)
    every = class_drops(tail, value=value)
    assert str(every.route).startswith(route)
    assert relative_error(every.drops, exact) <= 1e-5
    chosen, against = ClassTargets(torch.tensor([0, 4, 2])), ClassTargets(torch.tensor([1, 2, 3]))
    of_chosen, of_against = (
        exact.take_along_dim(t.index[:, None, None], 2).squeeze(2) for t in (chosen, against)
    )
    of_scores = FunctionTargets(tuple(lambda row, k=int(k): row[k] for k in chosen.index))
    for targets, expected in (
        (chosen, of_chosen),
        (ContrastTargets(chosen, against), of_chosen - of_against),
        (of_scores, of_chosen),
    ):
        assert relative_error(tail.drops(targets, value=value).drops, expected) <= 2e-5


def test_frames_in_the_batch_that_a_head_joins_keep_their_channels_apart(
    watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    class Frames(nn.Module):
        """``[n, t, c, h, w]``: every frame by itself, then a linear layer over all of a video's frames."""

        def __init__(self) -> None:
            super().__init__()
            self.layer, self.frame = nn.Conv3d(2, CHANNELS, (1, 3, 3)), nn.AdaptiveAvgPool2d(2)
            self.head = nn.Linear(3 * CHANNELS * 4, 5)

        def forward(self, videos: Tensor) -> Tensor:
            frames = torch.relu(self.layer(videos)).transpose(1, 2).flatten(0, 1)
            return self.head(self.frame(frames).unflatten(0, (len(videos), -1)).flatten(1))

    model, videos = Frames().eval(), torch.randn(2, 2, 3, 6, 6)
    found = class_drops(watch(model, "layer", videos))
    assert found.route.kind == "closed-form"
    exact = logit_drops(model, "layer", videos, channels=list(range(CHANNELS)))
    assert relative_error(found.drops, exact) <= 1e-5


def _reshapes() -> Iterator[tuple[tuple[int, ...], tuple[int, ...], Block]]:
    """Shapes of 48 entries for each of 3 images, and every block of 2 channels that some of them can hold."""
    sizes = (1, 2, 3, 4, 6, 8, 12, 16, 24, 48)
    shapes = [
        (3, *s) for axes in (1, 2, 3) for s in product(sizes, repeat=axes) if torch.Size(s).numel() == 48
    ]
    for before, after in product(shapes, repeat=2):
        for dim, width, repeats, offset in product(range(1, len(before)), (1, 2, 3), (1, 2, 4), (0, 1, 2)):
            for stride in (2 * width, 2 * width + 1, 12, 24) if repeats > 1 else (1,):
                fits = offset + (repeats - 1) * stride + 2 * width <= before[dim]
                if fits and (stride >= 2 * width or repeats == 1):
                    yield before, after, Block(dim, offset, width, 2, repeats, stride)


def test_every_reshape_that_is_carried_leaves_each_entry_with_its_channel() -> None:
    call = Call(torch.ops.aten.reshape.default, (Value(0), [0]), {}, (1,), None)
    carried_by_repeats: dict[int, int] = {}
    for before, after, block in _reshapes():
        found = reshape(Site(call, 3, {0: block}, lambda value, s=(before, after): s[value]))
        if found is not None:
            (moved,) = found.blocks
            assert moved is not None
            assert torch.equal(_owners(before, block).reshape(after), _owners(after, moved))
            carried_by_repeats[moved.repeats] = carried_by_repeats.get(moved.repeats, 0) + 1
    assert min(carried_by_repeats[repeats] for repeats in (1, 2, 4, 8)) > 50


def _owners(shape: tuple[int, ...], block: Block) -> Tensor:
    """Which channel owns each entry, -1 where none does."""
    owners = torch.full(shape, -1)
    for channel, at in enumerate(block.entries_of(torch.arange(block.channels))):
        owners.index_fill_(block.dim, at, channel)
    return owners
