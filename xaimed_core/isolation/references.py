"""Which modules of a model hold which others, in whatever way: what a replica has to copy together."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import functools
import types
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, final
from weakref import WeakKeyDictionary

from torch import Tensor, nn

OWN = frozenset(
    (
        "_modules",
        "_parameters",
        "_buffers",
        "_forward_hooks",
        "_forward_pre_hooks",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_forward_hooks_with_kwargs",
        "_forward_hooks_always_called",
        "_forward_pre_hooks_with_kwargs",
        "_state_dict_hooks",
        "_state_dict_pre_hooks",
        "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks",
        "_non_persistent_buffers_set",
    )
)
"""Attributes that torch itself keeps in a module."""

PLAIN = (Tensor, str, bytes, int, float, complex, bool, type(None), type, types.ModuleType)
FOREIGN = frozenset(("torch", "numpy", "builtins", "_thread", "threading", "logging", "re"))
"""Whose objects hold no module in a way that a forward could call; of torch, all but what shards modules does not."""


@final
@dataclass(frozen=True)
class References:
    """Modules by their ids, for a model's own references must not keep it alive.

    holders: by module, the modules that hold it where a copy can be put instead.
    opaque: ids of modules that something else holds, a closure or an object: whoever calls it reaches the original.
    """

    holders: dict[int, list[int]]
    opaque: frozenset[int]

    def ways_to(self, modules: list[nn.Module]) -> set[int]:
        """Ids of all modules from which one of ``modules`` can be reached, these included."""
        found: set[int] = set()
        waiting = [id(module) for module in modules]
        while waiting:
            module = waiting.pop()
            if module not in found:
                found.add(module)
                waiting.extend(self.holders.get(module, ()))
        return found


_known: WeakKeyDictionary[nn.Module, tuple[tuple[Any, ...], References]] = WeakKeyDictionary()


def references_in(model: nn.Module) -> References:
    """The references among the modules of a model, found once for as long as its modules stay what they are."""
    modules = list(model.modules())
    print_of = tuple((id(module), len(module.__dict__)) for module in modules)
    known = _known.get(model)
    if known is None or known[0] != print_of:
        known = _known[model] = print_of, _search(modules)
    return known[1]


def _search(modules: list[nn.Module]) -> References:
    holders: dict[int, list[int]] = {}
    opaque: set[int] = set()
    seen: set[int] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        compiled = "_orig_mod" in module._modules  # of such a wrapper only what it wraps is run
        kept = [] if compiled else [value for key, value in module.__dict__.items() if key not in OWN]
        for child in (*module._modules.values(), *_visible(kept, set())):
            if child is not None:
                holders.setdefault(id(child), []).append(id(module))
                waiting.append(child)
        opaque.update(map(id, _hidden(kept)))
    return References(holders, frozenset(opaque))


def _visible(values: Any, seen: set[int]) -> Iterator[nn.Module]:
    """Modules in containers, partial functions, bound methods and weak references."""
    for value in values:
        if isinstance(value, nn.Module):
            yield value
        elif not isinstance(value, PLAIN) and id(value) not in seen:
            seen.add(id(value))
            yield from _visible(parts_of(value) or (), seen)


def parts_of(value: Any) -> list[Any] | None:
    """What a container holds; None for what is none."""
    match value:
        case dict():
            return [*value, *value.values()]
        case list() | tuple() | set() | frozenset():
            return list(value)
        case functools.partial():
            return [value.func, *value.args, *value.keywords.values()]
        case types.MethodType():
            return [value.__self__]
        case weakref.ref():
            return [value()]
        case _ if (inner := compiled_from(value)) is not None:
            return [inner]
        case _:
            return None


def compiled_from(value: Any) -> Callable[..., Any] | None:
    """The function that `torch.compile` was given, None for what was not compiled."""
    return getattr(value, "_torchdynamo_orig_callable", None) if callable(value) else None


def _hidden(values: list[Any]) -> Iterator[nn.Module]:
    """Modules that functions and objects among the values hold: where no copy can be put."""
    seen: set[int] = set()
    waiting: list[tuple[Any, bool]] = [(value, False) for value in values]
    while waiting:
        value, inside = waiting.pop()
        if isinstance(value, nn.Module):
            if inside:
                yield value
            continue
        if isinstance(value, PLAIN) or id(value) in seen:
            continue
        seen.add(id(value))
        parts = parts_of(value)
        if parts is not None:
            waiting.extend((part, inside) for part in parts)
        elif isinstance(value, types.FunctionType):
            waiting.extend((part, True) for part in _of_function(value))
        elif _may_hold_modules(type(value).__module__):
            waiting.extend((part, True) for part in getattr(value, "__dict__", {}).values())


def _may_hold_modules(package: str) -> bool:
    return package.partition(".")[0] not in FOREIGN or package.startswith("torch.distributed")


def _of_function(function: types.FunctionType) -> Iterator[Any]:
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not bound yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    yield from function.__dict__.values()
