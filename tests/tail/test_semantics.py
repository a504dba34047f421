"""What is ablated, what is read from the result, and the circumstances that must not change either."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.tail.conftest import class_drops, drops_of
from xaimed_core.forward import observe, unwrap
from xaimed_core.tail import observe_tail
from xaimed_core.tail.run.mechanisms import ByPlan
from xaimed_core.tail.run.outcomes import OneClass
from xaimed_core.targets import ClassTargets, ContrastTargets, FunctionTargets


class Blocks(nn.Module):
    """Two blocks with in-place operations and skip connections; the layer may lie inside one."""

    def __init__(self, pack: Callable[[Tensor], Any] = lambda logits: logits) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.one, self.two = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(8, 5)
        self.pack = pack

    def forward(self, images: Tensor) -> Any:
        x = self.stem(images)
        y = self.one(x)
        y += x
        y = self.act(y)
        z = self.two(y).relu_()
        return self.pack(40 * self.head((z + y).mean((2, 3))))


@pytest.fixture
def model() -> nn.Module:
    model = Blocks()
    model(torch.randn(8, 3, 6, 6))
    return model.eval()


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 3, 6, 6)


EVERY = list(range(8))


@pytest.mark.parametrize("layer", ["stem", "stem.0", "one", "two", "act"])
@pytest.mark.parametrize("gradients", [False, True])
def test_layers_inside_blocks_with_skips_around_them_are_exact(
    layer: str,
    gradients: bool,
    model: nn.Module,
    images: Tensor,
    watch: Any,
    logit_drops: Any,
    relative_error: Any,
) -> None:
    tail = watch(model, layer, images, gradients=gradients)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    assert relative_error(class_drops(tail).drops, logit_drops(model, layer, images, channels=EVERY)) <= 1e-5


@pytest.mark.parametrize("value", ["zero", "minimum", "mean"])
@pytest.mark.parametrize("layer", ["one", "two"])
def test_a_channel_takes_the_value_asked_for(
    value: str,
    layer: str,
    model: nn.Module,
    images: Tensor,
    watch: Any,
    logit_drops: Any,
    relative_error: Any,
) -> None:
    exact = logit_drops(model, layer, images, channels=EVERY, value=value)
    assert relative_error(class_drops(watch(model, layer, images), value=value).drops, exact) <= 1e-5


@pytest.mark.parametrize("layer", ["one", "two"])
def test_one_class_a_contrast_and_a_score_function_read_the_same_drops(
    layer: str, model: nn.Module, images: Tensor, watch: Any
) -> None:
    tail = watch(model, layer, images)
    every = class_drops(tail)
    index, other = torch.tensor([0, 3, 4]), torch.tensor([1, 3, 2])
    rows = torch.arange(3)
    chosen, against = every.drops[rows, :, index], every.drops[rows, :, other]
    expected: list[tuple[Any, Tensor, Tensor]] = [
        (ClassTargets(index), chosen, every.logits[rows, index]),
        (
            ContrastTargets(ClassTargets(index), ClassTargets(other)),
            chosen - against,
            every.logits[rows, index] - every.logits[rows, other],
        ),
        (
            FunctionTargets((lambda row: row[0], lambda row: row[3], lambda row: row[4])),
            chosen,
            every.logits[rows, index],
        ),
    ]
    for targets, drops, scores in expected:
        found = tail.drops(targets)
        assert found.drops.dtype == torch.float32
        torch.testing.assert_close(found.drops, drops, rtol=0, atol=2e-5 * float(every.drops.abs().max()))
        torch.testing.assert_close(found.scores, scores)
        assert found.route == every.route


def test_a_score_function_that_is_not_linear_sees_whole_outputs(
    model: nn.Module, images: Tensor, watch: Any
) -> None:
    tail = watch(model, "two", images)
    every = class_drops(tail)
    probability = FunctionTargets((lambda row: (row / 40).softmax(0)[2],) * 3)
    before = (every.logits / 40).softmax(1)[:, 2]
    after = ((every.logits.unsqueeze(1) - every.drops) / 40).softmax(2)[..., 2]
    found = tail.drops(probability)
    assert found.drops.abs().max() > 1e-3
    torch.testing.assert_close(found.drops, before.unsqueeze(1) - after, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("layer", ["one", "two"])
def test_chosen_channels_are_the_same_as_among_all(
    layer: str, model: nn.Module, images: Tensor, watch: Any
) -> None:
    tail, targets = watch(model, layer, images), ClassTargets(torch.tensor([0, 1, 2]))
    chosen = torch.tensor([6, 1, 1])
    torch.testing.assert_close(
        drops_of(tail, OneClass(targets.index), chosen),
        tail.drops(targets).drops[:, chosen],
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_channel_that_is_already_zero_drops_exactly_nothing(
    model: nn.Module, images: Tensor, watch: Any
) -> None:
    with torch.no_grad():
        model.one.weight[2], model.one.bias[2] = 0, 0
        model.two.weight[5], model.two.bias[5] = 0, -1.0
    assert not class_drops(watch(model, "one", images)).drops[:, 2].any()
    assert not class_drops(watch(model, "two", images)).drops[:, 5].any(), "zero after the ReLU that follows"


PACKED = {
    "dict": lambda logits: {"aux": logits[:, :1], "logits": logits},
    "out": lambda logits: {"out": logits},
    "tuple": lambda logits: (logits, logits[:, :2, None, None]),
    "list of a tuple": lambda logits: [(logits,)],
}


@pytest.mark.parametrize("pack", PACKED)
def test_outputs_that_hold_logits_are_exact(
    pack: str, images: Tensor, watch: Any, logit_drops: Any, relative_error: Any
) -> None:
    model = Blocks(PACKED[pack]).eval()
    exact = logit_drops(model, "two", images, channels=EVERY)
    assert relative_error(class_drops(watch(model, "two", images)).drops, exact) <= 1e-5


def test_maps_of_logits_are_explained_by_score_functions(images: Tensor, watch: Any) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    tail = watch(model, "1", images)
    score = FunctionTargets((lambda row: row[1].sum(),) * 3)
    found = tail.drops(score).drops
    every = class_drops(tail).drops  # [n, c, classes, h, w]
    assert every.shape == (3, 4, 2, 2, 2)
    torch.testing.assert_close(found, every[:, :, 1].sum((2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layer", ["one", "two"])
def test_autocast_rounds_what_the_network_rounds_and_not_the_drop(
    layer: str, model: nn.Module, images: Tensor, watch: Any, logit_drops: Any, relative_error: Any
) -> None:
    exact = logit_drops(model, layer, images, channels=EVERY)
    with torch.autocast("cpu", torch.bfloat16):
        tail = watch(model, layer, images)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    error = relative_error(class_drops(tail).drops, exact)
    with torch.autocast("cpu", torch.bfloat16):
        plain = logit_drops(model, layer, images, channels=EVERY, dtype=torch.float32)
    assert error <= 0.5 * relative_error(plain.float(), exact)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_precision_keeps_it(
    dtype: torch.dtype, model: nn.Module, images: Tensor, watch: Any, logit_drops: Any, relative_error: Any
) -> None:
    model, images = copy.deepcopy(model).to(dtype), images.to(dtype)
    tail = watch(model, "two", images)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    exact = logit_drops(model, "two", images, channels=EVERY)
    assert relative_error(class_drops(tail).drops, exact) <= (1e-6 if dtype == torch.float64 else 3e-2)


def test_memory_formats_and_inference_mode_change_nothing(
    model: nn.Module, images: Tensor, watch: Any, logit_drops: Any, relative_error: Any
) -> None:
    exact = logit_drops(model, "one", images, channels=EVERY)
    other = copy.deepcopy(model).to(memory_format=torch.channels_last)
    found = class_drops(watch(other, "one", images.to(memory_format=torch.channels_last))).drops
    assert relative_error(found, exact) <= 1e-5
    with torch.inference_mode():
        assert relative_error(class_drops(watch(model, "one", images)).drops, exact) <= 1e-5


@pytest.mark.parametrize("how", ["wrapped", "in place", "a block"])
def test_compiled_models_are_exact(
    how: str, model: nn.Module, images: Tensor, watch: Any, logit_drops: Any, relative_error: Any
) -> None:
    exact = logit_drops(model, "one", images, channels=EVERY)
    with torch.no_grad():
        if how == "wrapped":
            compiled = torch.compile(model, backend="eager")
            compiled(images)
            model, _ = unwrap(compiled)
        elif how == "in place":
            model.compile(backend="eager")
            model(images)
        else:
            model.two = torch.compile(model.two, backend="eager")
            model(images)
    tail = watch(model, "one", images)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    assert relative_error(class_drops(tail).drops, exact) <= 1e-5


class Perceptron(nn.Module):
    """Tokens ``[n, length, c]``, mixed by a linear layer, and a head of several layers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix = nn.Linear(3, 8), nn.Linear(8, 8)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(40, 16), nn.GELU(), nn.Linear(16, 5))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.relu(self.mix(torch.tanh(self.embed(tokens)))))


@pytest.mark.parametrize(
    ("layer", "route"),
    [
        ("embed", "delta(1 linear)"),
        ("mix", "delta(1 linear) + replay: gelu"),
    ],
)
def test_channels_may_lie_last(
    layer: str, route: str, watch: Any, logit_drops: Any, relative_error: Any
) -> None:
    model, tokens = Perceptron().eval(), torch.randn(3, 5, 3)
    found = class_drops(watch(model, layer, tokens, channel_dim=-1))
    exact = logit_drops(model, layer, tokens, channels=EVERY, channel_dim=-1)
    assert str(found.route).startswith(route)
    assert relative_error(found.drops, exact) <= 1e-5


def test_the_tail_is_unknown_before_a_forward_was_watched(model: nn.Module, images: Tensor) -> None:
    observer = observe_tail(model, model.two, images)
    with pytest.raises(RuntimeError, match="no forward was watched"):
        observer.tail()


def test_nothing_is_left_behind_also_after_an_error_in_the_tail(model: nn.Module, images: Tensor) -> None:
    def fail(*_: Any) -> None:
        raise FloatingPointError("in the tail")

    before = {name: dict(module.__dict__) for name, module in model.named_modules()}
    hook = model.head.register_forward_hook(fail)
    observer = observe_tail(model, model.two, images)
    with pytest.raises(FloatingPointError):
        observe(model, images, {"two": model.two}, gradients=False, observers={"two": observer})
    hook.remove()
    assert torch.utils._python_dispatch._get_current_dispatch_mode() is None
    for name, module in model.named_modules():
        assert set(module.__dict__) == set(before[name])
        assert not module._forward_hooks
    assert torch.isfinite(model(images)).all()
