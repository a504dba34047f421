"""What a tape must not be built on: exact all the same, or an error; and wrong without the guard."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.tail.conftest import class_drops
from xaimed_core import explain
from xaimed_core.tail import decide
from xaimed_core.tail.plan import steps
from xaimed_core.tail.record import program
from xaimed_core.tail.record.tape import TapeRecorder
from xaimed_core.tail.run.mechanisms import ByPlan, ByRows
from xaimed_core.targets import FunctionTargets


class Net(nn.Module):
    """``layer``, then ``tail(self, x, stem)``; ``stem`` is what came before the layer."""

    def __init__(self, tail: Callable[["Net", Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.layer = nn.Conv2d(6, 6, 3, padding=1)
        self.late = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)
        self.tail = tail
        self.register_buffer("total", torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        stem = self.stem(images)
        x = self.tail(self, torch.relu(self.layer(stem)), stem)
        return self.head(x.mean((2, 3)))


def reads_a_stale_view(_net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    half = x[:, :3]
    x.mul_(torch.tensor([3.0, -2.0, 1.0, 5.0, 1.0, 1.0], dtype=x.dtype).view(1, 6, 1, 1))
    return torch.cat([half, x[:, 3:]], 1)


def overwrites_what_it_read_outside(net: Net, x: Tensor, stem: Tensor) -> Tensor:
    y = torch.tanh(net.late(x) + stem)
    stem.mul_(-4.0)
    return y + stem


def branches(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return net.late(x) if x[:, 0].mean() > 0 else 2 - 3 * x


def branches_by_item(_net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return x * x.max().item()


def selects_by_mask(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return net.late(x) * x[x > 0.1].mean()


def leaves_torch(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return net.late(x) * torch.from_numpy(2 + x.detach().numpy())


def leaves_torch_wholly(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return net.late(torch.from_numpy(x.detach().numpy().copy()))


def addresses_memory(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    x = x.contiguous()
    return net.late(x.as_strided(x.shape, (x.stride(0), x.stride(1), 1, x.shape[3])))


def writes_where_nothing_is_functional(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    out = torch.empty_like(x)
    torch.mul(x, 2.0, out=out)
    return net.late(out)


def sums_over_the_batch(_net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return torch.relu(x - x.mean(0, keepdim=True))


def normalises_in_training_mode(_net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return torch.relu(nn.functional.batch_norm(x, None, None, training=True))


def picks_by_number(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    """As where the token at the end of a text is picked, each image's at its own place."""
    rows = net.late(x).flatten(2).mT
    return x + rows[torch.arange(len(x)), torch.full((len(x),), 3)][:, :, None, None]


def drops_at_random(_net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return nn.functional.dropout(x, 0.5, training=True)


def adds_noise(_net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return x + torch.randn(1, 6, 1, 1, dtype=x.dtype)


def remembers(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    net.total.add_(x.mean())
    return x * net.total


def depends_on_the_batch_size(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    return net.late(x) if len(x) == 1 else -2 * x


def keeps_views_of_what_is_read(net: Net, x: Tensor, _stem: Tensor) -> Tensor:
    y = net.late(x)
    half, z = y[:, :3], torch.exp(y)
    return torch.cat([half, half], 1) * torch.sigmoid(z) + z


REFUSED = {
    "reads_a_stale_view": (reads_a_stale_view, 2, "another view"),
    "branches": (branches, 1, "row by row: the tail's Python reads ablated values"),
    "branches_by_item": (branches_by_item, 1, "row by row: the tail's Python reads ablated values"),
    "selects_by_mask": (
        selects_by_mask,
        1,
        "row by row: the shape of index's result depends on ablated values",
    ),
    "leaves_torch": (leaves_torch, 2, "row by row: ablated values leave torch (numpy)"),
    "leaves_torch_wholly": (leaves_torch_wholly, 2, "row by row: ablated values leave torch (numpy)"),
    "addresses_memory": (addresses_memory, 2, "addresses memory directly"),
    "writes_out": (writes_where_nothing_is_functional, 2, "no functional form"),
    "normalises_in_training_mode": (normalises_in_training_mode, 1, "training mode"),
    "picks_by_number": (picks_by_number, 2, "picks images by their number"),
    "picks_by_number_of_one": (picks_by_number, 1, "picks images by their number"),
    "depends_on_the_batch_size": (depends_on_the_batch_size, 1, "row by row"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("again", [False, True], ids=["first call", "second call"])
def test_what_a_tape_cannot_hold_runs_again_exactly_and_the_route_says_why(
    name: str, again: bool, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    tail, n, reason = REFUSED[name]
    model, images = Net(tail).eval(), torch.randn(n, 2, 5, 5)
    if again:
        watch(model, "layer", torch.randn(n, 2, 5, 5))
    found = watch(model, "layer", images)
    assert isinstance(found.mechanism, ByRows), found.mechanism.route
    assert reason in str((drops := class_drops(found)).route)
    exact = torch.cat(
        [logit_drops(model, "layer", images[i : i + 1], channels=list(range(6))) for i in range(n)]
    )
    assert relative_error(drops.drops, exact) <= 2e-4


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("overwrites", [overwrites_what_it_read_outside, keeps_views_of_what_is_read])
def test_what_is_still_needed_is_kept_as_it_was_read(
    overwrites: Callable, gradients: bool, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model, images = Net(overwrites).eval(), torch.randn(2, 2, 5, 5)
    tail = watch(model, "layer", images, gradients=gradients)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    exact = logit_drops(model, "layer", images, channels=list(range(6)))
    assert relative_error(class_drops(tail).drops, exact) <= 1e-5


def _allow(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("xaimed_core.tail.record.tape.refuse_unfit", lambda *_: None)
    patch.setattr(TapeRecorder, "leaves_torch", lambda *_: None)


def _value_without_guard(self: TapeRecorder, tensor: Tensor, memory: Any) -> int:
    geometry = (tensor.storage_offset(), tuple(tensor.shape))
    for held, value in () if memory is None else memory.held.items():
        if held[:2] == geometry:
            return value
    value = self._new_value(tensor)
    self._external[value] = tensor.detach().clone()
    return value


UNGUARDED: dict[str, tuple[Callable, int, Callable[[pytest.MonkeyPatch], None]]] = {
    "a stale view": (
        reads_a_stale_view,
        2,
        lambda patch: patch.setattr(TapeRecorder, "_value", _value_without_guard),
    ),
    "memory overwritten outside": (
        overwrites_what_it_read_outside,
        2,
        lambda patch: patch.setattr(TapeRecorder, "_keep_what_is_overwritten", lambda *_: None),
    ),
    "rows written over what views still show": (
        keeps_views_of_what_is_read,
        2,
        lambda patch: patch.setattr(steps, "_owned", lambda program, *_: set(program.shapes)),
    ),
    "a branch": (branches, 1, _allow),
    "a number read": (branches_by_item, 1, _allow),
    "a detour through NumPy": (leaves_torch, 2, _allow),
    "another tail for one image": (
        depends_on_the_batch_size,
        1,
        lambda patch: patch.setattr(program.Program, "fits", lambda *_: True),
    ),
}


@pytest.mark.parametrize("name", UNGUARDED)
def test_without_its_guard_and_the_self_check_the_result_is_silently_wrong(
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    watch: Callable,
    logit_drops: Callable,
    relative_error: Callable,
) -> None:
    tail, n, remove_guard = UNGUARDED[name]
    model, images = Net(tail).eval(), torch.randn(n, 2, 5, 5)
    exact = logit_drops(model, "layer", images, channels=list(range(6)))
    monkeypatch.setattr(decide, "ROUNDING", float("inf"))
    remove_guard(monkeypatch)
    found = watch(model, "layer", images)
    assert isinstance(found.mechanism, ByPlan), found.mechanism.route
    assert relative_error(class_drops(found).drops, exact) > 0.01


FAULTS = {
    "dropout": (drops_at_random, "native_dropout|bernoulli_ draws random numbers"),
    "noise": (adds_noise, "randn draws random numbers"),
    "memory": (remembers, "add_ writes what depends on the layer into the model's total"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_tail_whose_score_is_undefined_is_refused_by_the_operations_name(
    name: str, watch: Callable
) -> None:
    tail, message = FAULTS[name]
    with pytest.raises(ValueError, match=message):
        watch(Net(tail).eval(), "layer", torch.randn(2, 2, 5, 5))


def test_random_numbers_before_the_layer_are_refused(
    watch: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside other threads nobody can say who drew, so this one is to be alone."""
    monkeypatch.setattr("threading.active_count", lambda: 1)
    model = Net(lambda _net, x, _stem: x).eval()
    model.stem.register_forward_hook(lambda _module, _inputs, output: output + torch.randn(6, 1, 1))
    with pytest.raises(ValueError, match="an operation draws random numbers"):
        watch(model, "layer", torch.randn(2, 2, 5, 5))


@pytest.mark.parametrize(
    ("tail", "because"),
    [
        (normalises_in_training_mode, "batch_norm runs in training mode"),
        (sums_over_the_batch, "mean takes all images of the batch together"),
    ],
)
def test_images_that_depend_on_each_other_are_refused(tail: Callable, because: str, watch: Callable) -> None:
    with pytest.raises(ValueError, match=f"depends on the other images of the batch.*{because}"):
        watch(Net(tail).eval(), "layer", torch.randn(3, 2, 5, 5))


def test_a_layer_called_twice_is_refused(watch: Callable) -> None:
    model = Net(lambda net, x, _stem: net.layer(x)).eval()
    with pytest.raises(ValueError, match="more than once"):
        watch(model, "layer", torch.randn(2, 2, 5, 5))


def test_a_model_in_training_mode_is_explained_as_in_evaluation_mode(
    watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model = Net(lambda net, x, _stem: net.late(nn.functional.dropout(x, 0.5, net.training))).train()
    images = torch.randn(2, 2, 5, 5)
    exact = logit_drops(model, "layer", images, channels=list(range(6)))
    assert relative_error(class_drops(watch(model, "layer", images)).drops, exact) <= 1e-5
    assert model.training


def test_an_output_whose_score_is_no_single_number_is_refused(watch: Callable) -> None:
    model, images = Net(lambda net, x, _stem: net.late(x)).eval(), torch.randn(2, 2, 5, 5)
    tail = watch(model, "layer", images)
    with pytest.raises(ValueError, match="target"):
        tail.drops(FunctionTargets((lambda row: row[:2], lambda row: row[:2])))


def test_a_map_of_logits_needs_a_score_function() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 1)).eval()
    with pytest.raises(ValueError, match=r"class targets need an output \[n, classes\].*pass a callable"):
        explain(model, torch.randn(2, 2, 5, 5), "ablationcam", "1")


def test_an_output_without_logits_is_refused(watch: Callable) -> None:
    model = Net(lambda _net, x, _stem: x).eval()
    model.register_forward_hook(lambda _module, _inputs, output: {"boxes": output, "more": output})
    with pytest.raises(ValueError, match="2 tensors that could be the scores"):
        watch(model, "layer", torch.randn(2, 2, 5, 5))
