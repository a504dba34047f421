"""Instance normalisation, which torch runs as a batch normalisation of ``[1, n c, ...]``: no two images meet in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, final

import torch
from torch import Tensor

from xaimed_core.tail.record.aten import argument
from xaimed_core.tail.record.calls import Call, Value
from xaimed_core.tail.record.guards import Unsupported, in_training_mode


@final
@dataclass(frozen=True)
class Values:
    """Shapes and precisions of values by number, and tensors from outside the tail."""

    shapes: dict[int, tuple[int, ...]]
    dtypes: dict[int, torch.dtype]
    external: dict[int, Tensor]

    def new(self, shape: tuple[int, ...], dtype: torch.dtype) -> Value:
        """One more."""
        value = len(self.shapes)
        self.shapes[value], self.dtypes[value] = shape, dtype
        return Value(value)


def images_apart(calls: Sequence[Call], values: Values) -> list[Call]:
    """The calls with each of these as the normalisation of one channel per group of ``[n, c, ...]``, which it is.

    Raises `Unsupported` for a normalisation in training mode whose numbers are of all images together.
    """
    folded = {call.results[0]: call.args[0] for call in calls if call.name == "reshape"}
    apart: dict[Value, Value] = {}
    found: list[Call] = []
    for call in calls:
        if call.name == "reshape":
            found.append(replace(call, args=(apart.get(call.args[0], call.args[0]), *call.args[1:])))
        elif not in_training_mode(call.op, call.args, call.kwargs):
            found.append(call)
        else:
            flat, back = call.args[0].index, call.results[0]
            source = folded.get(flat)
            n, c, *places = (0, 0) if source is None else values.shapes[source.index]
            if source is None or back is None or values.shapes[flat] != (1, n * c, *places):
                raise Unsupported(
                    f"{call.name} runs in training mode, where images of a batch depend on each other"
                )
            result = apart[Value(back)] = values.new((n, c, *places), values.dtypes[flat])
            weights = [_of_one_image(call, name, c, values) for name in ("weight", "bias")]
            args = (source, *weights, n, c, prod(places), c, call.args[-1])
            op = torch.ops.aten.native_group_norm.default
            found.append(Call(op, args, {}, (result.index, None, None), None))
            reshape = torch.ops.aten.reshape.default
            found.append(Call(reshape, (result, list(values.shapes[flat])), {}, (back,), None))
    return found


def _of_one_image(call: Call, name: str, channels: int, values: Values) -> Any:
    """Weights ``[n c]``, the same for each image, as ``[c]``."""
    given = argument(call.op, call.args, call.kwargs, name)
    if given is None:
        return None
    value = values.new((channels,), values.dtypes[given.index])
    values.external[value.index] = values.external[given.index][:channels]
    return value
