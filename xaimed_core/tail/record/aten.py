"""What torch says about its operations and tensors without a public way to ask: the one place that looks inside."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload


def name_of(op: OpOverload) -> str:
    """The bare name, "relu_" of ``aten::relu_``; other libraries' operations keep theirs in front."""
    namespace, name = op._schema.name.split("::")
    return name if namespace == "aten" else f"{namespace}.{name}"


def overload_of(op: OpOverload) -> str:
    """Which of an operation's signatures this is, "Tensor" of ``aten::add.Tensor``."""
    return op._overloadname


def takes(op: OpOverload, name: str) -> bool:
    """Whether the operation has an argument of this name."""
    return any(formal.name == name for formal in op._schema.arguments)


def argument(op: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Any:
    """The argument of this name, its default where not given, None where the operation has no such argument."""
    for at, formal in enumerate(op._schema.arguments):
        if formal.name == name:
            if at < len(args):
                return args[at]
            return kwargs.get(name, formal.default_value)
    return None


def writes(op: OpOverload) -> bool:
    """Whether the operation writes into an argument."""
    return op._schema.is_mutable


def functional_form(op: OpOverload) -> OpOverload | None:
    """The operation that returns what this one writes into its first argument; None where there is none."""
    namespace, name = op._schema.name.split("::")
    first = op._schema.arguments[0]
    written = [a.name for a in op._schema.arguments if a.alias_info is not None and a.alias_info.is_write]
    if not name.endswith("_") or written != [first.name] or not isinstance(first.type, torch.TensorType):
        return None
    packet = getattr(getattr(torch.ops, namespace), name[:-1], None)
    found = getattr(packet, op._overloadname, None)
    if not isinstance(found, OpOverload) or found._schema.is_mutable:
        return None
    same_arguments = [a.name for a in found._schema.arguments] == [a.name for a in op._schema.arguments]
    return found if same_arguments else None


def overwriting_form(op: OpOverload) -> OpOverload | None:
    """The operation that writes what this one returns into its first argument; None where there is none."""
    namespace, name = op._schema.name.split("::")
    found = getattr(getattr(getattr(torch.ops, namespace), f"{name}_", None), op._overloadname, None)
    return found if isinstance(found, OpOverload) and functional_form(found) is op else None


def returns_views(op: OpOverload) -> bool:
    """Whether results may look at an argument's memory."""
    return any(formal.alias_info is not None for formal in op._schema.arguments)


def address(tensor: Tensor) -> int:
    """Which memory a tensor looks at. Raises NotImplementedError or RuntimeError where it has none of its own."""
    return tensor.untyped_storage()._cdata
