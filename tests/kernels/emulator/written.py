"""Kernels written by hand in PTX, as short as they can be, and what running one gives."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from xaimed_kernels.emulator import Fault, Kernel, Launch, Storage, parse


def ptx(body: str, *, parameters: int, threads: int = 64) -> str:
    """A kernel of 64-bit parameters that are in %rd0, %rd1, ... already; the thread's number is in %r0."""
    declared = ",\n".join(f".param .u64 .ptr .global .align 1 k_param_{i}" for i in range(parameters))
    loads = "\n".join(f"ld.param.b64 %rd{i}, [k_param_{i}];" for i in range(parameters))
    return (
        f".visible .entry k(\n{declared}\n)\n.reqntid {threads}\n{{\n.reg .pred %p<9>;\n.reg .b16 %rs<9>;\n"
        f".reg .b32 %r<40>;\n.reg .b64 %rd<40>;\n{loads}\nmov.u32 %r0, %tid.x;\n{body}\nret;\n}}\n"
    )


def aligned(values: NDArray) -> NDArray:
    """A copy at an address that is a multiple of 16."""
    room = np.zeros(values.nbytes + 16, np.uint8)
    start = -room.ctypes.data % 16
    copy = room[start : start + values.nbytes].view(values.dtype)
    copy[:] = values.reshape(-1)
    return copy


def run(
    body: str, arrays: Sequence[NDArray], *, threads: int = 64, blocks: int = 1, shared: int = 1024
) -> Launch:
    """Run such a kernel on arrays, which must be `aligned`; it may write to them."""
    kernel = Kernel(parse(ptx(body, parameters=len(arrays), threads=threads)))
    storages = [Storage(f"array {i}", a.ctypes.data, a.nbytes) for i, a in enumerate(arrays)]
    return kernel.run(blocks, [struct.pack("<Q", s.address) for s in storages], storages, shared)


def faults(launch: Launch) -> set[Fault]:
    return {finding.fault for finding in launch.findings}


_REGISTERS = {1: "%rs", 2: "%rs", 4: "%r", 8: "%rd"}


def execute(instruction: str, *operands: NDArray, result: type, constants: str = "") -> NDArray:
    """``add.s32`` of arrays of one size: each thread loads its operands, executes it, stores what comes out.

    ``constants``: operands that follow as they are.
    """
    count = len(operands[0])
    size = np.dtype(result).itemsize
    predicate = result is np.bool_
    out = aligned(np.zeros(count, np.uint32 if predicate else result))
    lines = []
    for i, operand in enumerate(operands):
        width = operand.dtype.itemsize
        lines += [
            f"mad.wide.u32 %rd20, %r0, {width}, %rd{i};",
            f"ld.global.b{8 * width} {_REGISTERS[width]}{10 + i if width > 2 else 1 + i}, [ %rd20 + 0 ];",
        ]
    names = [
        f"{_REGISTERS[o.dtype.itemsize]}{10 + i if o.dtype.itemsize > 2 else 1 + i}"
        for i, o in enumerate(operands)
    ]
    target = "%p1" if predicate else _REGISTERS[size] + "8"
    listed = ", ".join([target, *names, *([constants] if constants else [])])
    lines += [f"{instruction} {listed};"]
    if predicate:
        lines += ["selp.b32 %r8, 1, 0, %p1;"]
        target, size = "%r8", 4
    last = len(operands)
    lines += [
        f"mad.wide.u32 %rd21, %r0, {size}, %rd{last};",
        f"st.global.b{8 * size} [ %rd21 + 0 ], {target};",
    ]
    launch = run("\n".join(lines), [*(aligned(operand) for operand in operands), out], threads=count)
    assert launch.findings == ()
    return out.astype(np.bool_) if predicate else out
