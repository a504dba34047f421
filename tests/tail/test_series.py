"""Series: within their bound of the definition, sure only where they are, and the rest by rows."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from xaimed_core.tail.plan.series import BOUNDED_AT, SMOOTH, SURE, series_drops
from xaimed_core.tail.run.mechanisms import ByPlan
from xaimed_core.targets import ClassTargets, ContrastTargets

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {"silu": nn.functional.silu}


def test_every_smooth_function_is_tested() -> None:
    assert FUNCTIONS.keys() == SMOOTH.keys()


@pytest.mark.parametrize("name", SMOOTH)
def test_coefficients_are_derivatives_over_factorials(name: str) -> None:
    x = torch.linspace(-12, 12, 97, dtype=torch.float64, requires_grad=True)
    derivative, factorial = FUNCTIONS[name](x), 1.0
    for order, found in zip(range(1, 9), SMOOTH[name].coefficients(x.detach(), 1), strict=False):
        (derivative,) = torch.autograd.grad(derivative.sum(), x, create_graph=True)
        factorial *= order
        torch.testing.assert_close(found, derivative.detach() / factorial, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("first", BOUNDED_AT)
def test_coefficients_can_begin_anywhere(name: str, first: int) -> None:
    x = torch.linspace(-5, 5, 41)
    (*_, expected) = (c for c, _ in zip(SMOOTH[name].coefficients(x, 1), range(first), strict=False))
    assert torch.equal(next(SMOOTH[name].coefficients(x, first)), expected)


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("order", BOUNDED_AT)
def test_no_derivative_is_larger_than_the_largest(name: str, order: int) -> None:
    x = torch.cat([torch.linspace(-300, 300, 60007, dtype=torch.float64), torch.tensor([0.0, -1e5, 1e5])])
    found = next(SMOOTH[name].coefficients(x, order)).abs().max()
    assert 0.9 * SMOOTH[name].largest(order) < found < SMOOTH[name].largest(order)


def definition(name: str, base: Tensor, slope: Tensor, weights: Tensor, seen: Tensor) -> Tensor:
    """Every channel's change put through the function, in float64."""
    f, base, slope, weights, seen = FUNCTIONS[name], *(x.double() for x in (base, slope, weights, seen))
    changes = weights[None, :, :, None] * seen[:, :, None]
    return -(slope[:, None] * (f(base[:, None] + changes) - f(base)[:, None])).sum((2, 3))


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("reach", [0.01, 0.3, 1.0, 1.9])
@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_sure_drops_are_the_definition(name: str, reach: float, scale: float) -> None:
    torch.manual_seed(3)
    base, slope = torch.randn(3, 40, 25) * 3, torch.randn(3, 40, 25)
    weights, seen = torch.randn(32, 40), torch.randn(3, 32, 25)
    weights *= torch.logspace(-3, 0, 32)[:, None]
    seen *= (
        reach / (weights.abs().amax(1)[:, None] * seen.abs().amax(2, keepdim=True)) * torch.rand(32)[:, None]
    )
    found, sure = series_drops(name, base, slope, weights * scale, seen / scale)
    exact = definition(name, base, slope, weights * scale, seen / scale)
    largest = exact.abs().amax(1, keepdim=True)
    assert sure.float().mean() > 0.5
    assert bool(((found - exact).abs() <= (SURE + 2e-6) * largest)[sure].all())


@pytest.mark.parametrize("name", SMOOTH)
@pytest.mark.parametrize("value", [50.0, 1e30, float("inf"), float("nan")])
def test_changes_beyond_the_series_reach_are_never_sure(name: str, value: float) -> None:
    torch.manual_seed(3)
    base, slope = torch.randn(1, 20, 9), torch.randn(1, 20, 9)
    weights, seen = torch.rand(6, 20) + 0.5, torch.randn(1, 6, 9) / 10
    seen[0, 2, 4] = value
    _, sure = series_drops(name, base, slope, weights, seen)
    assert not sure[0, 2]


class SmoothHead(nn.Module):
    """A pointwise convolution with BatchNorm and SiLU, as EfficientNet ends; some channels change far too much."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, stride=2, padding=1)
        self.mix, self.norm = nn.Conv2d(24, 48, 1, bias=False), nn.BatchNorm2d(48)
        self.classify = nn.Linear(48, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = nn.functional.silu(self.norm(self.mix(self.stem(images))))
        return self.classify(nn.functional.dropout(x.mean((2, 3)), 0.2, self.training))


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(5)
    model = SmoothHead().eval()
    with torch.no_grad():
        model.stem.weight[::6] *= 60
        model.norm.running_var.fill_(0.25)
    return model


@pytest.mark.parametrize("against", [None, 2])
def test_what_a_series_leaves_is_replayed(
    model: nn.Module, against: int | None, watch: Callable, logit_drops: Callable, relative_error: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    images = torch.randn(3, 3, 16, 16)
    tail = watch(model, "stem", images)
    assert isinstance(tail.mechanism, ByPlan), tail.mechanism.route
    assert str(tail.mechanism.route).startswith("delta(1 conv) + series: silu")
    index = torch.tensor([0, 4, 1])
    chosen = ClassTargets(index)
    targets = chosen if against is None else ContrastTargets(chosen, ClassTargets(torch.full((3,), against)))
    rows: list[int] = []
    by_rows = ByPlan.__dict__["_in_chunks"]

    def counted(self: ByPlan, front: object, ablations: object, at: Tensor, *rest: object) -> object:
        rows.append(len(at))
        return by_rows(self, front, ablations, at, *rest)

    monkeypatch.setattr(ByPlan, "_in_chunks", counted)
    found = tail.drops(targets).drops
    exact = logit_drops(model, "stem", images, channels=list(range(24)))
    expected = exact.gather(2, index.reshape(3, 1, 1).expand(3, 24, 1)).squeeze(2)
    if against is not None:
        expected = expected - exact[:, :, against]
    assert relative_error(found, expected) <= 1e-5
    assert 0 < sum(rows) <= 36  # 4 of 24 channels change too much, in 3 images


def test_double_precision_is_left_to_rows(model: nn.Module, watch: Callable) -> None:
    assert "series" not in str(
        watch(model.double(), "stem", torch.randn(2, 3, 16, 16).double()).mechanism.route
    )


def test_inference_mode_and_other_batches_give_the_same(model: nn.Module, watch: Callable) -> None:
    images, targets = torch.randn(3, 3, 16, 16), ClassTargets(torch.tensor([0, 1, 2]))
    expected = watch(model, "stem", images).drops(targets).drops
    with torch.inference_mode():
        found = watch(model, "stem", images).drops(targets).drops
    assert torch.equal(found, expected)
    alone = watch(model, "stem", images[1:2]).drops(ClassTargets(torch.tensor([1]))).drops
    torch.testing.assert_close(alone, expected[1:2], rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
