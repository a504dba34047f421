"""Which implementation of an operation runs: chosen by the tensor's device, never by the process."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Literal, get_args

import torch
from torch import Tensor

from xaimed_kernels.launching import is_recording, is_standing_in

Backend = Literal["triton", "cpu", "reference"]
"""``triton``: the fused kernel. ``cpu``: the fast CPU path. ``reference``: the definition, on any device."""

_HALF_AND_SINGLE = (torch.float32, torch.float16, torch.bfloat16)


def choose_backend(tensor: Tensor, backend: Backend | None, *, double: bool = False) -> Backend:
    """The backend that runs for ``tensor``: ``backend`` itself where it fits, else the device's own.

    A CUDA tensor goes to Triton, a CPU tensor to the CPU path; no backend stands in for another silently.
    ``backend="triton"`` takes CPU tensors only under ``TRITON_INTERPRET=1`` (Triton's interpreter).
    ``double``: whether the operation's Triton kernels take float64.

    Raises: ValueError for an unknown name or a backend that cannot run on this device; TypeError for a dtype
    that it does not take; ModuleNotFoundError where Triton is needed and missing.
    """
    chosen = backend or _backend_of_device(tensor.device)
    match chosen:
        case "reference":
            _require_floating(tensor)
        case "cpu":
            _require_floating(tensor)
            if tensor.device.type != "cpu":
                raise ValueError(
                    f'backend="cpu" takes CPU tensors, got one on {tensor.device}; leave backend out'
                )
        case "triton":
            _require_triton(tensor, double=double)
        case _:
            raise ValueError(f"unknown backend {chosen!r}; choose one of {', '.join(get_args(Backend))}")
    return chosen


@contextmanager
def plain_arithmetic(device: torch.device) -> Generator[None]:
    """No autograd and no autocast inside: an operation's precision is its own, whatever surrounds the call."""
    with torch.no_grad(), torch.autocast("cuda" if device.type == "cuda" else "cpu", enabled=False):
        yield


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype of sums and results: float32, or float64 for float64 input."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _backend_of_device(device: torch.device) -> Backend:
    match device.type:
        case "cuda":
            return "triton"
        case "cpu":
            return "cpu"
        case other:
            raise ValueError(
                f"no kernel for tensors on {other!r}; use CUDA or CPU tensors, or backend='reference'"
            )


def _require_floating(tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise TypeError(f"expected a floating-point tensor, got {tensor.dtype}; convert it with .float()")


def _require_triton(tensor: Tensor, *, double: bool) -> None:
    if find_spec("triton") is None:
        raise ModuleNotFoundError(
            "CUDA tensors need Triton, which is not installed: pip install 'triton>=3.6' (Linux), "
            "or move the tensors to the CPU"
        )
    pretended = os.environ.get("TRITON_INTERPRET") == "1" or is_recording() or is_standing_in()
    if tensor.device.type != "cuda" and not pretended:
        raise ValueError(
            f'backend="triton" takes CUDA tensors, got one on {tensor.device}; leave backend out, or set '
            "TRITON_INTERPRET=1 before the kernels are imported to run them in Triton's interpreter"
        )
    if tensor.dtype not in _HALF_AND_SINGLE and not (double and tensor.dtype == torch.float64):
        raise TypeError(
            f"the Triton kernels take float32, bfloat16 and float16, got {tensor.dtype}; "
            "convert it with .float(), or use backend='reference'"
        )
