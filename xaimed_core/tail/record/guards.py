"""What a tape must not be built on: each guard here was silently wrong, or could be, without it."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, final

import torch
from torch import Tensor, nn
from torch._ops import HigherOrderOperator, OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from xaimed_core.tail.record.aten import argument, functional_form, name_of

READS_VALUES = frozenset(("_local_scalar_dense", "item", "is_nonzero", "equal", "allclose"))
CHANGES_GEOMETRY = frozenset(
    ("as_strided", "as_strided_", "set_", "resize_", "resize_as_", "t_", "transpose_")
)
COUNTS_IN_MEMORY = frozenset(("take", "put"))
"""Operations whose numbers count entries of all images together."""
SCALES_BY_THE_BATCH = re.compile(r"quantize.*_dynamic$|quantized_(lstm|gru)|fbgemm_linear_int8")
"""Operations that quantise what they are given, by its largest and smallest value. Float16 has no such scale."""

PLAIN = frozenset((Tensor, nn.Parameter, nn.Buffer))
"""Classes of tensors whose operations are what torch dispatches, no more."""


@final
class Unsupported(Exception):
    """Why the tail cannot be reasoned about as a list of operations; the model's own code takes over.

    one_row: rows must run alone, for what one row does would decide what its neighbours do.
    """

    def __init__(self, reason: str, *, one_row: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.one_row = one_row


def draws_random_numbers(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether this call is random: dropout that drops nothing and noise outside training are not."""
    if torch.Tag.nondeterministic_seeded not in op.tags:
        return False
    switches = ("dropout_p", "p", "train", "training")
    given = [argument(op, args, kwargs, name) for name in switches]
    return not any(isinstance(value, bool | int | float) and not value for value in given)


def in_training_mode(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether this normalises by numbers of the very batch that it is given."""
    return argument(op, args, kwargs, "training") is True


COMPILER_STUMBLES = torch.__version__ < "2.14"
"""Whether torch's compiler, which `torch.cond` starts, fails inside a mode and after one."""


class EagerMode(TorchDispatchMode):
    """Sees the operations of an eager forward. ``given_functions``: the last of those that are, as `torch.cond`."""

    supports_higher_order_operators = True
    """So that torch hands them over instead of raising in the model's forward."""

    given_functions: HigherOrderOperator | None = None

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Whether torch keeps its compiler away by means that load it (seconds, and Triton with it)."""
        return COMPILER_STUMBLES

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if COMPILER_STUMBLES and self.given_functions is not None:
            torch.compiler.reset()  # what it skipped in a mode it would skip for good


@final
class DrawWatch(EagerMode):
    """Notices, while entered, whether random numbers are drawn; nothing is recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.drew = False

    def __torch_dispatch__(
        self,
        func: OpOverload | HigherOrderOperator,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run one operation."""
        if not isinstance(func, OpOverload):
            self.given_functions = func
            return func(*args, **(kwargs or {}))
        self.drew = self.drew or draws_random_numbers(func, args, kwargs or {})
        return func(*args, **(kwargs or {}))


def refuse_other_kinds(tensor: Tensor) -> None:
    """Raise `Unsupported` for tensors that are more or other than numbers in a plain memory."""
    if type(tensor) not in PLAIN:
        raise Unsupported(
            f"{type(tensor).__name__} is a class of tensors of its own, whose operations torch cannot repeat"
        )
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        kind = "nested" if tensor.is_nested else tensor.dtype if tensor.is_quantized else tensor.layout
        raise Unsupported(f"a tensor of another kind ({kind}) comes between the layer and the output")


def refuse_unfit(
    op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], ablated: Callable[[Any], bool]
) -> None:
    """Raise `Unsupported` for a call on ablated values that no later batch can repeat from the tape."""
    name = name_of(op)
    if name == "index" and not any(
        ablated(x) for x in args[1] if isinstance(x, Tensor) and x.dtype == torch.bool
    ):
        return  # whole numbers, or a mask that no ablation changes: the shape is known
    if name in READS_VALUES:
        raise Unsupported(
            f"the tail's Python reads ablated values ({name}), e.g. to branch on them", one_row=True
        )
    if {torch.Tag.dynamic_output_shape, torch.Tag.data_dependent_output} & set(op.tags):
        raise Unsupported(f"the shape of {name}'s result depends on ablated values", one_row=True)
    if name in COUNTS_IN_MEMORY:
        raise Unsupported(f"{name} counts the entries of all images of the batch")
    if name in CHANGES_GEOMETRY:
        raise Unsupported(f"{name} addresses memory directly")
    if SCALES_BY_THE_BATCH.search(name):
        raise Unsupported(f"{name} chooses its scale from all rows together", one_row=True)
    if in_training_mode(op, args, kwargs) and len(args[0]) > 1:  # of 1: see `instance_norm`
        raise Unsupported(f"{name} runs in training mode, where images of a batch depend on each other")


def functional(op: OpOverload) -> OpOverload:
    """The operation that returns what this one writes in place. Raises `Unsupported` where there is none."""
    found = functional_form(op)
    if found is None:
        raise Unsupported(f"{name_of(op)} writes into memory in a way that has no functional form")
    return found
