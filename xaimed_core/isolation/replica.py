"""A replica of a model: copies of its module objects that share its tensors.

What a run hooks, switches or replaces lands on the copies. The caller's model stays as it is, and whoever uses it at
the same time sees nothing. DataParallel makes its replicas the same way.
"""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import copy
import functools
import types
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn

from xaimed_core.isolation.references import OWN, compiled_from, parts_of, references_in

HOOKS = tuple(
    name for name in OWN if name.endswith(("hooks", "kwargs", "called")) and "state_dict" not in name
)


class NotReplicableError(Exception):
    """Why copies cannot stand for the modules of a model."""


@final
@dataclass(frozen=True)
class Replica:
    """``root`` stands for the caller's model; ``copies``: by the id of a module of the caller's, what stands for it."""

    root: nn.Module
    copies: dict[int, nn.Module]
    route: str = ""

    def of(self, module: nn.Module) -> nn.Module:
        """What stands for a module of the caller's: its copy, or itself where nothing is hooked or switched there."""
        return self.copies.get(id(module), module)

    @contextmanager
    def running(self) -> Generator[None]:
        """Entered around forwards of ``root``."""
        yield

    @contextmanager
    def on_output(self, module: nn.Module, hook: Callable[[nn.Module, Any, Any], Any]) -> Generator[None]:
        """``hook(module, inputs, output)`` sees, and may replace, what a module of the caller's returns in ``root``."""
        with self.of(module).register_forward_hook(hook):
            yield

    @contextmanager
    def forward_as(self, module: nn.Module, forward: Callable[..., Any]) -> Generator[None]:
        """A module of the caller's runs ``forward`` in ``root``."""
        own = self.of(module).__dict__
        before = own.get("forward")
        own["forward"] = forward
        try:
            yield
        finally:
            if before is None:
                del own["forward"]
            else:
                own["forward"] = before

    def forward_of(self, module: nn.Module) -> Callable[..., Any]:
        """What a module of the caller's runs in ``root`` now."""
        return self.of(module).forward


def replicate(model: nn.Module, modules: Iterable[nn.Module] | None = None) -> Replica:
    """A replica in evaluation mode, in which ``modules`` can be hooked; None for all of them.

    Only what leads to ``modules`` is copied where nothing is to be switched. Raises `NotReplicableError` where the
    model's code could reach an original behind the copies.
    """
    references = references_in(model)
    every = list(model.modules())
    modules = None if modules is None else list(modules)
    if any(isinstance(module, torch.jit.ScriptModule) for module in modules or ()):
        raise NotReplicableError("the layer is a compiled script")
    if modules is None or any(map(_must_be_copied, every)):
        wanted = {*map(id, every), *references.ways_to(every)}
    else:
        wanted = references.ways_to([model, *modules])
    hidden = [name for name, module in model.named_modules() if id(module) in wanted & references.opaque]
    if hidden:
        raise NotReplicableError(
            f"a function or an object of the model holds {', '.join(hidden[:3]) or 'it'}"
        )
    copier = _Copier(wanted, {id(module) for module in every})
    return Replica(copier.copy_of(model), copier.copies)


def _must_be_copied(module: nn.Module) -> bool:
    tensors = (*module._parameters.values(), *module._buffers.values())
    return (
        module.training
        or "_orig_mod" in module._modules
        or getattr(module, "_compiled_call_impl", None) is not None
        or compiled_from(module.__dict__.get("forward")) is not None
        or any(tensor is not None and tensor.is_inference() for tensor in tensors)
    )


@final
class _Copier:
    """``wanted``: ids of the modules to be copied; ``registered``: of those that follow the model's mode."""

    def __init__(self, wanted: set[int], registered: set[int]) -> None:
        self.wanted, self.registered = wanted, registered
        self.copies: dict[int, nn.Module] = {}

    def copy_of(self, module: nn.Module) -> nn.Module:
        """The copy of a module, or the module itself where none is wanted."""
        if id(module) in self.copies:
            return self.copies[id(module)]
        if id(module) not in self.wanted:
            return module
        if isinstance(module, torch.jit.ScriptModule):
            if module.training:
                raise NotReplicableError(f"{type(module).__name__} is a compiled script in training mode")
            return module
        inner = module._modules.get("_orig_mod")
        if inner is not None:  # what torch.compile wrapped stands for the wrapper, uncompiled
            self.copies[id(module)] = found = self.copy_of(inner)
            return found
        return self._copied(module)

    def _copied(self, module: nn.Module) -> nn.Module:
        found = self.copies[id(module)] = object.__new__(type(module))
        own = found.__dict__
        own.update(module.__dict__)
        for name in HOOKS:
            if name in own:
                own[name] = own[name].copy()
        own["_parameters"] = {k: _usable(tensor) for k, tensor in module._parameters.items()}
        own["_buffers"] = {k: _usable(tensor) for k, tensor in module._buffers.items()}
        own["_modules"] = {
            k: None if child is None else self.copy_of(child) for k, child in module._modules.items()
        }
        for name, value in module.__dict__.items():
            if name not in OWN:
                own[name] = self._rebuilt(value, {})
        if id(module) in self.registered:
            own["training"] = False
        if own.get("_compiled_call_impl") is not None:
            own["_compiled_call_impl"] = None
        return found

    def _rebuilt(self, value: Any, done: dict[int, Any]) -> Any:
        """The same value with copies in place of the modules that it holds; itself where it holds none."""
        if isinstance(value, nn.Module):
            return self.copy_of(value)
        if isinstance(value, Tensor | str | int | float | type(None)):
            return value
        if id(value) in done:
            return done[id(value)]
        done[id(value)] = value
        parts = parts_of(value)
        if parts is None:
            return value
        moved = [self._rebuilt(part, done) for part in parts]
        compiled = compiled_from(value) is not None
        if not compiled and all(new is old for new, old in zip(moved, parts, strict=True)):
            return value
        done[id(value)] = found = moved[0] if compiled else _with_parts(value, moved)
        return found


def _with_parts(value: Any, parts: list[Any]) -> Any:
    match value:
        case dict():
            found = copy.copy(value)
            found.clear()
            found.update(zip(parts[: len(value)], parts[len(value) :], strict=True))
            return found
        case list():
            found = copy.copy(value)
            found[:] = parts
            return found
        case tuple():
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        case set() | frozenset():
            return type(value)(parts)
        case functools.partial():
            count = 1 + len(value.args)
            return functools.partial(*parts[:count], **dict(zip(value.keywords, parts[count:], strict=True)))
        case types.MethodType():
            return types.MethodType(value.__func__, parts[0])
        case weakref.ref():
            return weakref.ref(parts[0])
        case _:
            raise NotReplicableError(f"no copy of a {type(value).__name__} can be made")


def _usable(tensor: Tensor | None) -> Tensor | None:
    """A tensor that autograd may save: one made in inference mode is copied."""
    if tensor is None or not tensor.is_inference():
        return tensor
    with torch.inference_mode(False):
        return tensor.clone()
