"""The device that a user names, and the cores that this process may use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from xaimed_reports.store.jsonform import UnusableError

if TYPE_CHECKING:
    import torch


DEVICE_HELP = "where to measure, e.g. cuda:0; default: CUDA where there is one, else cpu"
"""Of every --device."""


def device_named(name: str | None) -> torch.device:
    """The CPU or a CUDA device by its name; None: CUDA where there is one, else the CPU.

    Raises UnusableError for a name that means neither, and for a device that is not here.
    """
    import torch  # the command line, which shows `DEVICE_HELP`, starts without it

    here = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if name is None:
        return torch.device("cuda" if here else "cpu")
    if name not in ("cpu", *here, *(["cuda"] if here else [])):
        none = "" if here else "; no CUDA device is usable here, and xaimed doctor says why"
        raise UnusableError(f"--device {name}: give {' or '.join(['cpu', *here])}{none}")
    try:
        return torch.empty(1, device=name).device
    except RuntimeError as error:  # another process holds it, or its memory is full
        raise UnusableError(f"--device {name}: {str(error).splitlines()[0]}") from error


def usable_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
