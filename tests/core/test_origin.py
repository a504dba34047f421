"""Where a layer's axes came from decides how it is read: what is not the image's rows and columns is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from xaimed_core import ChannelsFirst, ChannelsLast, Tokens, explain
from xaimed_core.anatomy import layers_of
from xaimed_core.layout import Layout, LayoutError

Arrange = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """A stem ``[n, 8, 8, 8]`` of images of 32 x 32, ``arrange``, the layer looked at, and a head that reads it all."""

    def __init__(self, arrange: Arrange, axes: int = 2) -> None:
        super().__init__()
        self.stem = (nn.Conv2d if axes == 2 else nn.Conv3d)(3, 8, 4, 4)
        self.norm = nn.LayerNorm(8)  # so that the network is one which may hold tokens
        self.arrange, self.seen = arrange, nn.Identity()
        self.latents, self.cls = nn.Parameter(torch.randn(1, 16, 8)), nn.Parameter(torch.randn(1, 1, 8))
        self.head = nn.LazyLinear(3)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.stem(images).movedim(1, -1)).movedim(-1, 1)
        return self.head(self.seen(self.arrange(x)).reshape(len(images), -1))


def tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)


def windows(x: Tensor) -> Tensor:
    """``[n, 2, 4, 2, 4, c]``: four windows of 4 x 4."""
    return x.permute(0, 2, 3, 1).unflatten(2, (2, 4)).unflatten(1, (2, 4))


def blocks(x: Tensor) -> Tensor:
    """``[n, blocks, tokens, c]``, as NesT has them: 16 of 4."""
    x = x.permute(0, 2, 3, 1).unflatten(2, (4, 2)).unflatten(1, (4, 2)).transpose(2, 3)
    return x.flatten(3, 4).flatten(1, 2)


def reversed_windows(x: Tensor) -> Tensor:
    return windows(x).transpose(2, 3).contiguous().transpose(2, 3).flatten(3, 4).flatten(1, 2)


def scores(x: Tensor) -> Tensor:
    """What each place attends to: ``[n, 1, places, places]``."""
    q = tokens(x)
    return (q @ q.mT).softmax(-1)[:, None]


def with_class_token(x: Tensor, last: bool = False) -> Tensor:
    cls = x.mean((2, 3))[:, None]
    return torch.cat([tokens(x), cls] if last else [cls, tokens(x)], 1)


def apart(x: Tensor) -> Tensor:
    """Patches of 2 x 2, one after the other: ``[n, 32, 16]``."""
    return torch.nn.functional.unfold(x, 2, stride=2)


def together(patches: Tensor) -> Tensor:
    return torch.nn.functional.fold(patches, (8, 8), 2, stride=2)


UNREADABLE: dict[str, tuple[Arrange, str]] = {
    "blocks, then their tokens": (
        lambda x: windows(x).transpose(2, 3).flatten(3, 4).flatten(1, 2),
        "windows or blocks",
    ),
    "as many blocks as tokens in each": (
        lambda x: torch.nn.functional.pad(blocks(x), (0, 0, 0, 12)),
        "windows or blocks",
    ),
    "windows in the batch": (
        lambda x: windows(x).transpose(2, 3).flatten(0, 2),
        "windows of the image in its batch",
    ),
    "windows of tokens in the batch": (
        lambda x: windows(x).transpose(2, 3).flatten(3, 4).flatten(0, 2),
        "windows of the image in its batch",
    ),
    "tokens window by window": (
        lambda x: windows(x).transpose(2, 3).flatten(1, 4),
        "another order than row by row",
    ),
    "tokens column by column": (lambda x: tokens(x.mT), "another order or number"),
    "rows and columns exchanged": (lambda x: x.mT, "another order or number"),
    "rolled": (lambda x: x.roll((2, 2), (2, 3)), "another order than row by row"),
    "mirrored": (lambda x: x.flip(3), "another order than row by row"),
    "the class token last": (lambda x: with_class_token(x, last=True), "another order or number"),
    "patches put together in another order": (
        lambda x: together(apart(x).unflatten(2, (4, 4)).mT.flatten(2)),
        "another order than row by row",
    ),
    "windows by unfold": (
        lambda x: x.unfold(2, 4, 4).unfold(3, 4, 4).flatten(4).flatten(2, 3),
        "windows or blocks",
    ),
    "columns after channels were picked": (
        lambda x: x.index_select(1, torch.arange(7, -1, -1)).mT,
        "another order or number",
    ),
    "columns after pixels went into channels": (
        lambda x: torch.nn.functional.pixel_unshuffle(x, 2).mT,
        "another order or number",
    ),
    "turned by a quarter": (lambda x: x.rot90(1, (2, 3)), "another order than row by row"),
    "pixels of a patch, and patches": (lambda x: apart(x).unflatten(1, (8, 4)), "another order or number"),
    "attention between places": (scores, "another order or number"),
    "heads apart": (lambda x: tokens(x)[:, None].expand(-1, 4, -1, -1), "another order or number"),
    "attention between channels": (lambda x: (tokens(x).mT @ tokens(x))[:, None], "no axis of the image"),
}


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("layout", [None, "infer"])
def test_what_does_not_hold_the_images_rows_and_columns_is_refused(name: str, layout: str | None) -> None:
    arrange, why = UNREADABLE[name]
    model, images = Net(arrange).eval(), torch.randn(2, 3, 32, 32)
    model(images)
    with pytest.raises(LayoutError, match=f"{why}.*choose a layer around it"):
        explain(model, images, "xgradcam", "seen", 0, layout=layout)


def test_tokens_of_the_networks_own_are_refused() -> None:
    """As a Perceiver's latents are, and Perceiver-like pooling: 16 of them are not 4 x 4 places."""
    model = Net(lambda x: model.latents + (model.latents @ tokens(x).mT).softmax(-1) @ tokens(x)).eval()
    images = torch.randn(2, 3, 32, 32)
    model(images)
    with pytest.raises(LayoutError, match="no axis of the image"):
        explain(model, images, "xgradcam", "seen", 0, layout="infer")


READABLE: dict[str, tuple[Arrange, Layout]] = {
    "rows and columns": (lambda x: x.relu(), ChannelsFirst()),
    "channels last": (lambda x: x.permute(0, 2, 3, 1), ChannelsLast()),
    "tokens": (tokens, Tokens((8, 8))),
    "a class token": (with_class_token, Tokens((8, 8), 1)),
    "nine tokens, which could be four and registers": (
        lambda x: tokens(torch.nn.functional.adaptive_avg_pool2d(x, 3)),
        Tokens((3, 3)),
    ),
    "windows put together again": (reversed_windows, ChannelsLast()),
    "rolled there and back": (
        lambda x: x.roll((2, 2), (2, 3)).relu().roll((-2, -2), (2, 3)),
        ChannelsFirst(),
    ),
    "exchanged there and back": (lambda x: x.mT.relu().mT, ChannelsFirst()),
    "a shortcut around windows": (
        lambda x: tokens(x) + windows(x).transpose(2, 3).flatten(1, 4),
        Tokens((8, 8)),
    ),
    "one token of each window": (
        lambda x: windows(x).transpose(2, 3).flatten(3, 4).flatten(1, 2).mean(2),
        Tokens((2, 2)),
    ),
    "places without their class token": (lambda x: with_class_token(x)[:, 1:], Tokens((8, 8))),
    "a gate": (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), ChannelsFirst()),
    "attention, written out": (lambda x: scores(x)[:, 0] @ tokens(x), Tokens((8, 8))),
    "attention, fused": (
        lambda x: torch.nn.functional.scaled_dot_product_attention(*[tokens(x)[:, None]] * 3)[:, 0],
        Tokens((8, 8)),
    ),
    "patches by im2col": (lambda x: apart(x).mT, Tokens((4, 4))),
    "channels picked": (lambda x: x.index_select(1, torch.tensor([5, 0])), ChannelsFirst()),
    "pixels in channels": (lambda x: torch.nn.functional.pixel_unshuffle(x, 2), ChannelsFirst()),
    "patches put together again": (lambda x: together(apart(x)), ChannelsFirst()),
}


@pytest.mark.parametrize("name", READABLE)
def test_what_holds_them_is_read_as_it_lies(name: str) -> None:
    arrange, expected = READABLE[name]
    model, images = Net(arrange).eval(), torch.randn(2, 3, 32, 32)
    model(images)
    told = {layer.name: layer.told for layer in layers_of(model, images)}["seen"]
    assert told.layout == expected, told
    found, given = (
        explain(model, images, "xgradcam", "seen", 0, layout=layout).maps["xgradcam"]
        for layout in ("infer", expected)
    )
    assert torch.equal(found, given)


def test_tokens_of_a_volume_are_read() -> None:
    model = Net(tokens, axes=3).eval()
    images = torch.randn(1, 3, 8, 16, 12)
    model(images)
    found = explain(model, images, "xgradcam", "seen", 0, layout="infer")
    assert found.raw["xgradcam"].shape == (1, 2, 4, 3)


def test_what_cannot_be_followed_is_read_by_its_shape() -> None:
    """A gather may do anything, and is left to what the numbers of tokens say, as before."""
    model = Net(lambda x: tokens(x)[:, torch.arange(64)]).eval()
    images = torch.randn(2, 3, 32, 32)
    model(images)
    assert explain(model, images, "xgradcam", "seen", 0, layout="infer").raw["xgradcam"].shape == (2, 8, 8)


def test_a_layout_that_is_given_is_taken_at_its_word() -> None:
    model, images = Net(UNREADABLE["tokens column by column"][0]).eval(), torch.randn(2, 3, 32, 32)
    model(images)
    assert explain(model, images, "xgradcam", "seen", 0, layout=Tokens((8, 8))).raw["xgradcam"].shape == (
        2,
        8,
        8,
    )
