"""A model that no replica can stand for, explained itself: under a lock, and deaf to other threads."""

# pyright: reportPrivateUsage=false

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, final
from weakref import WeakKeyDictionary

from torch import nn

from xaimed_core.isolation.thread_state import undo_later

_locks: WeakKeyDictionary[nn.Module, threading.RLock] = WeakKeyDictionary()


@final
class _Hook:
    """A forward hook of one run, inert in other threads and once the run is over."""

    def __init__(self, hook: Callable[[nn.Module, Any, Any], Any]) -> None:
        self.hook: Callable[[nn.Module, Any, Any], Any] | None = hook
        self.thread = threading.get_ident()

    def __call__(self, module: nn.Module, inputs: Any, output: Any) -> Any:
        hook = self.hook
        if hook is None or threading.get_ident() != self.thread:
            return None
        return hook(module, inputs, output)


@final
@dataclass(frozen=True)
class Borrowed:
    """The caller's model itself. Other explanations of it wait; what other threads compute is not looked at.

    While it runs the model is in evaluation mode for every thread, which a thread that trains it would notice.
    """

    root: nn.Module
    route: str
    copies: dict[int, nn.Module] = field(default_factory=dict[int, nn.Module])

    def of(self, module: nn.Module) -> nn.Module:
        """The module itself."""
        return module

    @contextmanager
    def running(self) -> Generator[None]:
        """Entered around forwards of ``root``: one thread at a time, in evaluation mode."""
        lock, held = _locks.setdefault(self.root, threading.RLock()), list[bool]()
        training: list[nn.Module] = []

        def restore() -> None:
            for module in training:
                module.training = True
            training.clear()
            _ = held and (lock.release(), held.clear())  # one line: no interrupt falls between the two

        undo_later(restore)
        try:
            held.append(lock.acquire())
            training.extend(module for module in self.root.modules() if module.training)
            for module in training:
                module.training = False
            yield
        finally:
            restore()

    @contextmanager
    def on_output(self, module: nn.Module, hook: Callable[[nn.Module, Any, Any], Any]) -> Generator[None]:
        """``hook(module, inputs, output)`` sees, and may replace, what the module returns to this thread."""
        own = _Hook(hook)

        def remove() -> None:
            own.hook = None
            hooks = module._forward_hooks
            for key in [key for key, found in hooks.items() if found is own]:
                del hooks[key]

        undo_later(remove)
        try:
            module.register_forward_hook(own)
            yield
        finally:
            remove()

    @contextmanager
    def forward_as(self, module: nn.Module, forward: Callable[..., Any]) -> Generator[None]:
        """The module runs ``forward`` in this thread."""
        before, usual, thread = module.__dict__.get("forward"), module.forward, threading.get_ident()

        def chosen(*args: Any, **kwargs: Any) -> Any:
            return (forward if threading.get_ident() == thread else usual)(*args, **kwargs)

        def restore() -> None:
            if module.__dict__.get("forward") is chosen:
                if before is None:
                    del module.__dict__["forward"]
                else:
                    module.__dict__["forward"] = before

        undo_later(restore)
        try:
            module.__dict__["forward"] = chosen
            yield
        finally:
            restore()

    def forward_of(self, module: nn.Module) -> Callable[..., Any]:
        """What the module runs now."""
        return module.forward
