"""Operands that are no plain tensors: compared without an error and without being fooled, or refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.tail.conftest import Headed, brute_force, class_drops
from xaimed_core.tail.record.calls import Tape, Value, alike
from xaimed_core.tail.record.guards import Unsupported
from xaimed_core.tail.record.program import fit
from xaimed_core.tail.record.tape import TapeRecorder
from xaimed_core.tail.run.mechanisms import ByRows

pytestmark = [
    # of nested tensors of the default layout, once a process
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage"),
    # torch moves 8-bit tensors to another package; networks that people have hold them
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor, torch.quantize_per_channel"),
]

EVERY = list(range(6))
NAN = float("nan")


class Uncomparable:
    def __eq__(self, other: object) -> bool:
        raise TypeError("no")

    __hash__ = None  # pyright: ignore[reportAssignmentType]


class EqualToAll:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # pyright: ignore[reportAssignmentType]


ONE, DRAWS = Uncomparable(), torch.Generator()
OPERANDS: list[tuple[Any, Any, bool]] = [
    (1, 1, True),
    (1, True, False),
    (1, 1.0, False),
    (NAN, float("nan"), True),
    (0.0, -0.0, False),
    (complex(NAN, 1), complex(NAN, 1), True),
    (complex(0, -0.0), complex(0, 0.0), False),
    (np.float32(2), np.float32(2), True),
    (np.float32("nan"), np.float32("nan"), True),
    (np.float32(2), np.float64(2), False),
    (None, None, True),
    (None, 0, False),
    ("mean", "mean", True),
    (torch.float32, torch.float32, True),
    (torch.float32, torch.float64, False),
    (torch.device("cpu"), torch.device("cpu"), True),
    (torch.device("cpu"), torch.device("meta"), False),
    (Value(1), Value(1), True),
    (Value(1), Value(2), False),
    ([1, [Value(1), NAN]], [1, [Value(1), NAN]], True),
    ([1, 2], (1, 2), False),
    ([1, 2], [1, 2, 3], False),
    (ONE, ONE, True),
    (ONE, Uncomparable(), False),
    (EqualToAll(), EqualToAll(), False),
    (DRAWS, DRAWS, True),
    (DRAWS, torch.Generator(), False),
    (np.ones(2), np.ones(2), False),
    (torch.ones(2), torch.ones(2), False),
]


@pytest.mark.parametrize(("a", "b", "expected"), OPERANDS)
def test_operands_are_alike_only_where_that_is_sure(a: Any, b: Any, expected: bool) -> None:
    assert alike(a, b) is expected
    assert alike(b, a) is expected
    assert alike([a], [b]) is expected


def nan_as_a_number(x: Tensor) -> Tensor:
    return x.nan_to_num(nan=NAN).flatten(1)


def nan_as_a_constant(x: Tensor) -> Tensor:
    return torch.where(torch.tensor([True]), x, torch.full((1, 6, 1, 1), NAN, dtype=x.dtype)).flatten(1)


@pytest.mark.parametrize("head", [nan_as_a_number, nan_as_a_constant])
def test_nan_among_the_operands_is_the_same_at_every_batch_size(
    head: Callable, watch: Callable, logit_drops: Callable, relative_error: Callable
) -> None:
    model, images = Headed(head).eval(), torch.randn(3, 2, 5, 5)
    found = class_drops(watch(model, "layer", images))
    assert found.route.kind == "closed-form"
    assert relative_error(found.drops, logit_drops(model, "layer", images, channels=EVERY)) <= 1e-5


def branches_within(x: Tensor) -> Tensor:
    return torch.cond(x[:1].sum() > 0, lambda x: (2 * x).flatten(1), lambda x: (2 * x).flatten(1), (x,))


def writes_a_list(x: Tensor) -> Tensor:
    parts = [x.clone(), 2 * x]
    torch._foreach_add_(parts, 1.0)
    return (parts[0] * parts[1]).flatten(1)


def nests(x: Tensor) -> Tensor:
    nested = torch.nested.as_nested_tensor(list(x.flatten(2)))
    return torch.nested.to_padded_tensor(nested.relu(), 0.0).flatten(1)


class Doubling(Tensor):
    """Gives twice what the operation says: below torch's dispatch, where no tape sees it."""

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return 2 * func(*(x.plain if isinstance(x, cls) else x for x in args), **(kwargs or {}))


def doubling(plain: Tensor) -> Doubling:
    """In the memory of ``plain``."""
    found = Tensor._make_subclass(Doubling, plain)
    found.plain = plain
    return found


def passes_a_class_of_its_own(x: Tensor) -> Tensor:
    return torch.sigmoid(doubling(x.detach())).flatten(1)


def reads_a_class_of_its_own(x: Tensor) -> Tensor:
    return (x * doubling(torch.ones(6, 1, 1, dtype=x.dtype))).flatten(1)


OF_OTHER_KINDS = {
    branches_within: "cond is given functions",
    writes_a_list: "_foreach_add_ writes into memory in a way that has no functional form",
    nests: "a tensor of another kind (nested)",
    passes_a_class_of_its_own: "Doubling is a class of tensors of its own",
    reads_a_class_of_its_own: "Doubling is a class of tensors of its own",
}


@pytest.mark.parametrize("head", OF_OTHER_KINDS)
def test_what_no_list_of_operations_holds_runs_again_and_the_route_says_why(
    head: Callable, watch: Callable, relative_error: Callable
) -> None:
    model, images = Headed(head).eval(), torch.randn(2, 2, 5, 5)
    found = watch(model, "layer", images)
    assert isinstance(found.mechanism, ByRows)
    assert OF_OTHER_KINDS[head] in str(found.mechanism.route)
    assert relative_error(class_drops(found).drops, brute_force(model, images)) <= 1e-5


def test_a_tensor_of_probabilities_draws_random_numbers(watch: Callable) -> None:
    model = Headed(lambda x: (x * torch.empty_like(x).bernoulli_(torch.full((3,), 0.5))).flatten(1)).eval()
    with pytest.raises(ValueError, match="bernoulli_ draws random numbers"):
        watch(model, "layer", torch.randn(2, 2, 5, 5))


@pytest.mark.parametrize(
    ("activation", "reason"),
    [
        (lambda: torch.eye(6).to_sparse(), "sparse_coo"),
        (lambda: torch.quantize_per_tensor(torch.ones(2, 6), 0.1, 0, torch.quint8), "quint8"),
        (lambda: doubling(torch.ones(2, 6)), "Doubling"),
    ],
    ids=["sparse", "quantised", "a subclass"],
)
def test_a_recorder_never_raises_in_the_models_forward(activation: Callable[[], Tensor], reason: str) -> None:
    recorder = TapeRecorder(nn.Identity(), activation())
    with recorder:
        logits = torch.ones(2, 3) + 1
    with pytest.raises(Unsupported, match=reason):
        recorder.tape(logits)


def recorded(head: Callable[[Tensor], Tensor], n: int) -> Tape:
    rows = torch.randn(n, 6, 3, 3)
    recorder = TapeRecorder(nn.Identity(), rows)
    with recorder:
        logits = head(rows)
    return recorder.tape(logits)


TABLE = torch.randn(5, 54)


@pytest.mark.parametrize(
    ("head", "reason", "one_row"),
    [
        (lambda x: (x / x.amax()).flatten(1), "amax takes all images of the batch together", True),
        (lambda x: (x - x.mean(0)).flatten(1), "mean takes all images of the batch together", True),
        (lambda x: x.flatten(1) + TABLE[len(x)], "a tensor that all images share was another", False),
        (lambda x: x.flatten(1) * (1 / len(x)), "an argument is 0.5 for 2 images and 0.3", False),
    ],
)
def test_two_recordings_of_different_tails_are_no_program(head: Callable, reason: str, one_row: bool) -> None:
    with pytest.raises(Unsupported, match=reason) as caught:
        fit(recorded(head, 2), 2, recorded(head, 3), 3)
    assert caught.value.one_row is one_row


def test_operands_that_cannot_be_compared_refuse_a_program() -> None:
    def tape(n: int) -> Tape:
        found = recorded(lambda x: x.flatten(1), n)
        (call,) = found.calls
        return replace(found, calls=(replace(call, kwargs={"of": Uncomparable()}),))

    with pytest.raises(
        Unsupported, match="an argument is a Uncomparable for 2 images and a Uncomparable for 3"
    ):
        fit(tape(2), 2, tape(3), 3)
