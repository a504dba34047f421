"""How a kernel is launched, and how launches are written down instead, to be compiled without a GPU."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

Path = tuple[int, ...]
"""Where an argument stands: its position, and its position inside a tuple argument."""

_recorded: ContextVar[list[KernelCase] | None] = ContextVar("recorded_launches", default=None)
_stand_in: ContextVar[int | None] = ContextVar("multiprocessors_of_the_stand_in", default=None)


@final
@dataclass(frozen=True)
class KernelCase:
    """One kernel in one configuration: everything that Triton specialises compiled code on.

    ``signature``: Triton's type of each argument by name (``"*fp32"``, ``"i32"``, ``"constexpr"``, or a tuple
    of these). ``constants``: the values of constexpr arguments. ``divisible``: the arguments known to be
    multiples of 16 (for a pointer: its address). ``warps`` and ``stages``: of a program, and of its software
    pipeline.
    """

    kernel: Any
    signature: Mapping[str, Any]
    constants: Mapping[Path, Any]
    divisible: tuple[Path, ...]
    warps: int
    stages: int

    @property
    def name(self) -> str:
        """The kernel's name and, in brackets, its configuration: pointers, constexpr arguments, warps.

        Ints that Triton made constants because they are 1 in this launch are left out.
        """
        pointers = [kind[1:] for kind in self.signature.values() if isinstance(kind, str) and kind[0] == "*"]
        constants = [
            f"{self.kernel.arg_names[path[0]]}={_show(value)}"
            for path, value in self.constants.items()
            if self.kernel.params[path[0]].is_constexpr
        ]
        return f"{self.kernel.__name__}[{','.join([*pointers, *constants, f'warps={self.warps}'])}]"


def launch(
    kernel: Any, programs: int, *arguments: Any, warps: int, stages: int = 1, **constants: Any
) -> None:
    """Run ``programs`` instances of ``kernel`` on the device of its first tensor, or record the launch.

    ``arguments``: tensors, ints, floats or tuples of ints, in the kernel's order; ``constants``: its constexpr
    arguments; ``stages``: iterations of a loop whose loads are under way at once (each costs shared memory).
    Nothing waits for the device.
    """
    recorded = _recorded.get()
    if recorded is not None:
        recorded.append(_case(kernel, arguments, constants, warps, stages))
        return
    device = next(argument.device for argument in arguments if isinstance(argument, Tensor))
    with on_device(device):
        kernel[(programs,)](*arguments, **constants, num_warps=warps, num_stages=stages)


@contextmanager
def recording() -> Generator[list[KernelCase]]:
    """Inside, operations with ``backend="triton"`` take tensors on "meta" and launches are only listed."""
    cases: list[KernelCase] = []
    token = _recorded.set(cases)
    try:
        yield cases
    finally:
        _recorded.reset(token)


def is_recording() -> bool:
    """Whether launches are being listed instead of run."""
    return _recorded.get() is not None


@contextmanager
def standing_in(multiprocessors: int) -> Generator[None]:
    """Inside, CPU tensors count as a GPU's, of so many multiprocessors: Triton has got a driver that runs there."""
    token = _stand_in.set(multiprocessors)
    try:
        yield
    finally:
        _stand_in.reset(token)


def is_standing_in() -> bool:
    """Whether Triton runs kernels on CPU tensors, without its interpreter."""
    return _stand_in.get() is not None


def is_capturing(device: torch.device) -> bool:
    """Whether the current stream of ``device`` (not of the current device) is captured: nothing can be read back."""
    with on_device(device):
        return device.type == "cuda" and torch.cuda.is_current_stream_capturing()


def multiprocessors(device: torch.device) -> int:
    """The device's multiprocessors; recording counts as an H100 (132), the interpreter as 2."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).multi_processor_count
    return _stand_in.get() or (132 if device.type == "meta" else 2)


def splits_for(outputs: int, tiles: int, *, warps: int, device: torch.device) -> int:
    """Parts into which a sum over ``tiles`` is split, one program each for every one of ``outputs``.

    16 warps for each multiprocessor, with some 16 loads each in flight, cover DRAM's latency; more splits would
    only add partial sums to write and read. No part is empty.
    """
    programs = ceil_div(multiprocessors(device) * 16, warps)
    splits = min(tiles, ceil_div(programs, outputs))
    return ceil_div(tiles, ceil_div(tiles, splits))


def needs_wide_offsets(tile: tuple[int, int], *tensors: Tensor) -> bool:
    """Whether an offset inside a ``[c, s]`` tile of ``[n, c, s]`` tensors passes 2^31.

    Offsets from tile to tile always have 64 bits.
    """
    return any(tile[0] * abs(t.stride(1)) + tile[1] * abs(t.stride(2)) >= 2**31 for t in tensors)


def is_aligned(tensor: Tensor) -> bool:
    """Whether it begins at a multiple of 16 bytes, for which Triton compiles a variant of its own: wide loads."""
    return bool((tensor.data_ptr() or tensor.storage_offset() * tensor.element_size()) % 16 == 0)


def apart(
    count: int, *shape: int, device: torch.device, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, ...]:
    """``count`` tensors of this shape in one allocation, uninitialised, each of them aligned whatever its size."""
    size = torch.Size(shape).numel()
    rows = torch.empty(count, ceil_div(size, 16) * 16, device=device, dtype=dtype)
    return tuple(row[:size].view(shape) for row in rows.unbind(0))


def power_of_two(value: int) -> int:
    """The smallest power of two that is at least ``value``: what a tile's side must be."""
    return 1 << (value - 1).bit_length()


def ceil_div(value: int, divisor: int) -> int:
    """``value / divisor``, rounded up."""
    return -(-value // divisor)


def on_device(device: torch.device) -> AbstractContextManager[Any]:
    """Inside, ``device`` is the current one."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _case(
    kernel: Any, arguments: tuple[Any, ...], constants: Mapping[str, Any], warps: int, stages: int
) -> KernelCase:
    names: list[str] = kernel.arg_names
    signature: dict[str, Any] = {}
    values: dict[Path, Any] = {}
    divisible: list[Path] = []
    for place, (name, argument) in enumerate(zip(names, arguments, strict=False)):
        if kernel.params[place].do_not_specialize:
            signature[name] = _type_of(argument)
        else:
            signature[name] = _specialise((place,), argument, values, divisible)
    for name, value in constants.items():
        signature[name] = "constexpr"
        values[(names.index(name),)] = value
    return KernelCase(kernel, signature, values, tuple(divisible), warps, stages)


def _specialise(path: Path, argument: Any, values: dict[Path, Any], divisible: list[Path]) -> Any:
    """Triton's type of an argument, as its own launcher would specialise it."""
    match argument:
        case Tensor():
            if is_aligned(argument):
                divisible.append(path)
        case tuple():
            return tuple(_specialise((*path, i), item, values, divisible) for i, item in enumerate(argument))
        case int():
            if argument == 1:
                values[path] = 1
                return "constexpr"
            if argument % 16 == 0:
                divisible.append(path)
        case _:
            pass
    return _type_of(argument)


def _type_of(argument: Any) -> str:
    match argument:
        case Tensor():
            return f"*{_TRITON_NAMES[argument.dtype]}"
        case int():
            return "i32" if -(2**31) <= argument < 2**31 else "i64"
        case float():
            return "fp32"
        case other:
            raise TypeError(f"a kernel takes tensors, ints, floats and tuples of ints, got {other!r}")


_TRITON_NAMES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int8: "i8",
    torch.uint8: "u8",
    torch.int16: "i16",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.bool: "i1",
}


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return "(" + "+".join(_show(item) for item in value) + ")"
    return str(getattr(value, "__name__", value))
