"""Operations that are linear in what changed: the change of the result, computed from the change alone.

A form takes the call and its `Operands`. Constants drop out: a bias, what is added, what is padded with.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from xaimed_core.tail.carry.values import exact
from xaimed_core.tail.record.aten import argument, overload_of, takes
from xaimed_core.tail.record.calls import Call, Value, leaves, nested


@final
@dataclass(frozen=True)
class Operands:
    """The tensors that a call reads: ``change`` of the values that ``depend`` on the layer, ``other`` for the rest."""

    depend: Collection[int]
    change: Callable[[int], Tensor]
    other: Callable[[int], Tensor]

    def __call__(self, leaf: Any) -> Any:
        """The tensor of a `Value`, in the precision of changes; anything else as it is."""
        if not isinstance(leaf, Value):
            return leaf
        return self.change(leaf.index) if leaf.index in self.depend else exact(self.other(leaf.index))


Form = Callable[[Call, Operands], Any]

OF_THE_FIRST = frozenset(
    [
        "reshape",
        "permute",
        "transpose",
        "t",
        "unsqueeze",
        "squeeze",
        "expand",
        "select",
        "slice",
        "split",
        "split_with_sizes",
        "unbind",
        "flip",
        "roll",
        "unfold",
        "mean",
        "sum",
        "neg",
        "cumsum",
        "avg_pool1d",
        "avg_pool2d",
        "avg_pool3d",
        "_adaptive_avg_pool2d",
        "_adaptive_avg_pool3d",
        "adaptive_avg_pool1d",
        "upsample_nearest1d",
        "upsample_nearest2d",
        "upsample_nearest3d",
        "upsample_linear1d",
        "upsample_bilinear2d",
        "upsample_trilinear3d",
        "upsample_bicubic2d",
        "reflection_pad1d",
        "reflection_pad2d",
        "replication_pad1d",
        "replication_pad2d",
        "pixel_shuffle",
        "pixel_unshuffle",
    ]
)
"""Linear in their first argument, without a constant."""

PRODUCTS = frozenset(("mm", "bmm", "mul"))
"""Linear in either argument while the other does not change."""

BATCH_NORMS = frozenset(("native_batch_norm", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"))
"""Only ever outside training mode here (see `guards`)."""


def linear_form(call: Call, depend: Collection[int]) -> Form | None:
    """How this call carries changes of the values that ``depend``; None where it is not linear in them."""
    changed = [at for at, leaf in enumerate(call.args) if any(_is(x, depend) for x in leaves(leaf))]
    name, first_only = call.name, changed == [0]
    if (name in OF_THE_FIRST and first_only) or (name in PRODUCTS and len(changed) == 1):
        return _same_operation
    if name in ("add", "sub") and changed:
        return _sum
    if name == "div" and first_only and overload_of(call.op) in ("Tensor", "Scalar"):
        return _same_operation
    if name == "addmm" and changed == [1] and not call.kwargs:
        return _matrix_product
    if name == "convolution" and first_only:
        return _convolution
    if name in BATCH_NORMS and first_only:
        return _scale_of_batch_norm
    return {"cat": _join, "stack": _join, "constant_pad_nd": _pad, "_to_copy": _cast}.get(name)


def _is(leaf: Any, depend: Collection[int]) -> bool:
    return isinstance(leaf, Value) and leaf.index in depend


def _same_operation(call: Call, operands: Operands) -> Any:
    kwargs = {key: leaf for key, leaf in call.kwargs.items() if key != "dtype"}
    return call.op(*nested(call.args, operands), **kwargs)


def _sum(call: Call, operands: Operands) -> Tensor:
    """a + alpha * b, or a - alpha * b; of the terms that did not change only the shape counts."""
    factor = call.kwargs.get("alpha", 1) * (1 if call.name == "add" else -1)
    terms = [
        (operands.change(leaf.index), scale)
        for leaf, scale in zip(call.args, (1, factor), strict=False)
        if _is(leaf, operands.depend)
    ]
    shapes = [operands(leaf).shape for leaf in call.args if isinstance(leaf, Value)]
    total = terms[0][0] if terms[0][1] == 1 else terms[0][0] * terms[0][1]
    for change, scale in terms[1:]:
        total = torch.add(total, change, alpha=scale)
    return total.expand(torch.broadcast_shapes(*shapes))


def _matrix_product(call: Call, operands: Operands) -> Tensor:
    return torch.mm(operands(call.args[1]), operands(call.args[2]))


def _convolution(call: Call, operands: Operands) -> Tensor:
    x, weight, _bias, *rest = call.args
    return torch.ops.aten.convolution.default(operands(x), operands(weight), None, *rest)


def batch_norm_scale(call: Call, tensor: Callable[[Any], Any]) -> Tensor:
    """What batch normalisation outside training multiplies each channel by, ``[channels]``."""
    weight, variance = tensor(call.args[1]), tensor(call.args[4])
    eps = next(
        argument(call.op, call.args, call.kwargs, name) for name in ("eps", "epsilon") if takes(call.op, name)
    )
    scale = torch.rsqrt(variance + eps)
    return scale if weight is None else weight * scale


def _scale_of_batch_norm(call: Call, operands: Operands) -> tuple[Tensor, ...]:
    change = operands(call.args[0])
    scale = batch_norm_scale(call, operands)
    return (change * scale.reshape(-1, *[1] * (change.ndim - 2)),)


def _join(call: Call, operands: Operands) -> Tensor:
    parts = [
        operands(leaf) if _is(leaf, operands.depend) else torch.zeros_like(exact(operands.other(leaf.index)))
        for leaf in call.args[0]
    ]
    return call.op(parts, *call.args[1:])


def _pad(call: Call, operands: Operands) -> Tensor:
    return torch.constant_pad_nd(operands(call.args[0]), call.args[1])


def _cast(call: Call, operands: Operands) -> Tensor:
    """To the precision that changes of such values are computed in, never below float32."""
    change, dtype = operands(call.args[0]), call.kwargs.get("dtype")
    return change if dtype is None else change.to(torch.promote_types(dtype, torch.float32))
