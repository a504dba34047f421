"""Module rerun: only the tail runs again, and what was done before the layer is taken as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.tail.conftest import class_drops
from tests.tail.test_guards import Net
from xaimed_core.tail import decide
from xaimed_core.tail.run.mechanisms import ByRows

EVERY = list(range(6))


class Refused(nn.Module):
    """No tape holds this tail (it reads a stale view), so that modules run again."""

    def __init__(self, middle: Callable[[Refused, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem, self.skip = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(2, 6, 1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.layer, self.late = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)
        self.middle = middle

    def forward(self, images: Tensor) -> Tensor:
        skip = self.skip(images)
        x = self.layer(self.middle(self, self.act(self.norm(self.stem(images)))))
        half = x[:, :3]
        x.mul_(2)
        x = self.act(self.late(torch.cat([half, x[:, 3:]], 1)) + skip)
        return self.head(x.mean((2, 3)))


def writes_in_place(_net: Refused, x: Tensor) -> Tensor:
    return x.add_(1.0)


def calls_a_module_twice(net: Refused, x: Tensor) -> Tensor:
    return net.act(net.stem.bias.view(1, 6, 1, 1) - x) + x


def folds_the_batch(_net: Refused, x: Tensor) -> Tensor:
    return nn.Identity()(x.reshape(-1, 2, *x.shape[2:])).reshape(x.shape)


MIDDLES = {
    "nothing": lambda _net, x: x,
    "an operation in place": writes_in_place,
    "a module called again": calls_a_module_twice,
    "the batch folded": folds_the_batch,
}


@pytest.mark.parametrize("name", MIDDLES)
def test_drops_of_modules_run_again_are_those_of_brute_force(
    name: str, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model, images = Refused(MIDDLES[name]).eval(), torch.randn(3, 2, 5, 5)
    exact = logit_drops(model, "layer", images, channels=EVERY)
    for _ in range(2):  # modules' outputs come from a forward of their own, then from the engine's
        found = class_drops(watch(model, "layer", images))
        assert (
            str(found.route)
            == "module rerun: a tensor is read after its memory was written in place through another view"
        )
        assert relative_error(found.drops, exact) <= 2e-4


def test_only_the_tail_runs_again(watch: Callable) -> None:
    model, images = Refused(MIDDLES["nothing"]).eval(), torch.randn(3, 2, 5, 5)
    watch(model, "layer", images)
    ran: list[str] = []
    for name in ("stem", "skip", "late"):
        inner = getattr(model, name)._conv_forward
        getattr(model, name)._conv_forward = lambda *args, name=name, inner=inner: (
            ran.append(name),
            inner(*args),
        )[1]
    tail = watch(model, "layer", images)
    assert ran[:3] == ["skip", "stem", "late"], "the forward; then two images alone, which must give the same"
    class_drops(tail)
    assert set(ran[3:]) == {"late"}


def test_rows_go_in_chunks_as_measured_the_same_in_every_call(
    watch: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Wide(Refused):
        """As many channels as are worth measuring."""

        def __init__(self) -> None:
            super().__init__(MIDDLES["nothing"])
            self.skip, self.layer = nn.Conv2d(2, 256, 1), nn.Conv2d(6, 256, 1)
            self.late, self.head = nn.Conv2d(256, 256, 1), nn.Linear(256, 4)

    model, images = Wide().eval(), torch.randn(2, 2, 3, 3)
    measured: list[int] = []

    def slow_beyond_eight(run: Callable[[slice], Tensor], most: int, *_: Any) -> int:
        measured.append(most)
        return len(run(slice(0, 8)))

    monkeypatch.setattr("xaimed_core.tail.run.mechanisms.fastest_rows", slow_beyond_eight)
    first = class_drops(watch(model, "layer", images)).drops
    tail = watch(model, "layer", images)
    assert isinstance(tail.mechanism, ByRows)
    ran: list[int] = []
    model.late.register_forward_hook(lambda _module, inputs, _output: ran.append(len(inputs[0])))
    again = class_drops(watch(model, "layer", images)).drops
    assert measured == [256], "once, and never more than one image's channels"
    assert {*ran[3:]} == {8}, "the forward and two images alone, then chunks"
    assert torch.equal(first, again)


def test_hooks_that_the_caller_added_take_part(
    watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model, images = Refused(MIDDLES["nothing"]).eval(), torch.randn(2, 2, 5, 5)
    for name, factor in (("skip", 3.0), ("layer", -1.5), ("late", 2.0)):
        getattr(model, name).register_forward_hook(
            lambda _module, _inputs, output, factor=factor: factor * output
        )
    exact = logit_drops(model, "layer", images, channels=EVERY)
    found = watch(model, "layer", images)
    assert isinstance(found.mechanism, ByRows)
    assert relative_error(class_drops(found).drops, exact) <= 2e-4


def test_where_modules_cannot_run_again_whole_forwards_run_and_the_route_says_so(
    watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    class Shares(Refused):
        """A module hands its result on beside its output, where no rerun finds it."""

        def forward(self, images: Tensor) -> Tensor:
            skip, kept = self.skip(images), list[Tensor]()
            handle = self.stem.register_forward_hook(lambda _module, inputs, _output: kept.append(inputs[0]))
            x = self.layer(self.act(self.stem(images + 1)))
            handle.remove()
            half = x[:, :3]
            x.mul_(2)
            return self.head((torch.cat([half, x[:, 3:]], 1) + skip * self.count(kept)).mean((2, 3)))

        def count(self, kept: list[Any]) -> float:
            return float(len(kept)) if self.stem.__dict__.get("forward") is None else 100.0

    model, images = Shares(MIDDLES["nothing"]).eval(), torch.randn(2, 2, 5, 5)
    exact = logit_drops(model, "layer", images, channels=EVERY)
    for _ in range(2):
        found = class_drops(watch(model, "layer", images))
        assert found.route.kind == "full-forward"
        assert relative_error(found.drops, exact) <= 2e-4


def leaves_torch_for_a_channel(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    """A weak one: the self-check ablates the strongest, which tell nothing of it."""
    weak = torch.tensor([1.0, 1.0, 0.01, 1.0, 1.0, 1.0], dtype=x.dtype).view(1, 6, 1, 1)
    x = x * weak
    return net.late(x) + 50 * torch.from_numpy(x.detach().numpy()[:, 2:3].copy())


def leaves_torch_as_a_list(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return net.late(x) * torch.tensor(x.mean((1, 2, 3)).tolist(), dtype=x.dtype).view(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("tail", "way"), [(leaves_torch_for_a_channel, "numpy"), (leaves_torch_as_a_list, "tolist")]
)
def test_what_leaves_torch_for_a_moment_is_seen_without_the_self_check(
    tail: Callable,
    way: str,
    monkeypatch: pytest.MonkeyPatch,
    watch: Callable,
    logit_drops: Callable,
    relative_error: Callable,
) -> None:
    monkeypatch.setattr(decide, "ROUNDING", float("inf"))
    model, images = Net(tail).eval(), torch.randn(2, 2, 5, 5)
    drops = class_drops(watch(model, "layer", images))
    assert f"row by row: ablated values leave torch ({way})" in str(drops.route)
    assert relative_error(drops.drops, logit_drops(model, "layer", images, channels=list(range(6)))) <= 2e-4


def counts_its_calls(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    net.total.add_(1)
    return net.late(x) * (1 + 0.1 * net.total)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_model_that_counts_its_calls_is_refused_as_such(n: int, watch: Callable) -> None:
    """What is counted does not depend on the layer, so that no operation is at fault."""
    with pytest.raises(ValueError, match="other scores for the same images when it runs again"):
        watch(Net(counts_its_calls).eval(), "layer", torch.randn(n, 2, 5, 5))


def reads_pairs_as_complex(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    """Two channels are one complex number, which has to lie side by side in memory."""
    pairs = torch.view_as_complex(x.unflatten(1, (3, 2)).movedim(2, -1).contiguous())
    return net.late(torch.cat([pairs.abs(), pairs.real], 1))


def test_an_operation_that_asks_how_memory_lies_runs_in_the_models_own_code(
    watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model, images = Net(reads_pairs_as_complex).eval(), torch.randn(2, 2, 5, 5)
    drops = class_drops(watch(model, "layer", images))
    assert "module rerun: the recorded operations do not run for rows" in str(drops.route)
    assert relative_error(drops.drops, logit_drops(model, "layer", images, channels=EVERY)) <= 1e-5
