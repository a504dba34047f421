"""What torch keeps for the running thread, put back in every exit, so that a call leaves no trace in it."""

# pyright: reportPrivateUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from traceback import clear_frames
from typing import ParamSpec, TypeVar, final

import torch
import torch.overrides
from torch.utils._python_dispatch import _pop_mode

P = ParamSpec("P")
R = TypeVar("R")


class _Local(threading.local):
    def __init__(self) -> None:
        self.steps: list[Callable[[], None]] = []


_local = _Local()


def undo_later(step: Callable[[], None]) -> None:
    """Have ``step`` run when the `self_contained` call around here ends, however it ends.

    Register it *before* the change that it takes back. It may run twice, and must then change nothing.
    """
    _local.steps.append(step)


@final
@dataclass(frozen=True)
class ThreadState:
    """Grad mode, autocast, dispatch and function modes of this thread, and how many steps wait to be undone."""

    grad: bool
    autocast: tuple[tuple[str, bool, torch.dtype], ...]
    nesting: int
    modes: int
    functions: int
    steps: int

    @staticmethod
    def now() -> ThreadState:
        """The state in force."""
        kinds = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
        return ThreadState(
            torch.is_grad_enabled(),
            tuple((kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds),
            _nesting(),
            torch._C._len_torch_dispatch_stack(),
            torch._C._len_torch_function_stack(),
            len(_local.steps),
        )

    def restore(self) -> None:
        """Make it so again. Doing it twice does no more than doing it once."""
        while torch._C._len_torch_dispatch_stack() > self.modes:
            _pop_mode()
        while torch._C._len_torch_function_stack() > self.functions:
            torch.overrides._pop_mode()
        torch._C._set_grad_enabled(self.grad)
        for kind, enabled, dtype in self.autocast:
            torch.set_autocast_enabled(kind, enabled)
            torch.set_autocast_dtype(kind, dtype)
        while _nesting() > self.nesting:
            if torch.autocast_decrement_nesting() == 0:
                torch.clear_autocast_cache()
        while len(_local.steps) > self.steps:
            _local.steps[-1]()
            _local.steps.pop()


def self_contained(function: Callable[P, R]) -> Callable[P, R]:
    """A function that leaves the thread as it found it, whatever interrupts it.

    A context manager can be interrupted between a change and its own start. Here the state is known before anything
    changes, and put back twice: one interrupt can fall into one of the two, not into both.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        before = ThreadState.now()
        try:
            try:
                return function(*args, **kwargs)
            except Exception:
                raise
            except BaseException as interrupt:  # else contexts half left would end later, with the traceback
                clear_frames(interrupt.__traceback__)
                raise
            finally:
                before.restore()
        finally:
            before.restore()

    return run


def _nesting() -> int:
    """How many autocast contexts are open in this thread: torch says so only while counting one more."""
    return (torch.autocast_increment_nesting(), torch.autocast_decrement_nesting())[1]
