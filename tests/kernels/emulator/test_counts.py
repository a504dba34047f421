"""What is counted, on kernels whose counts can be said beforehand."""

from collections import Counter

import numpy as np
import pytest

from tests.kernels.emulator.written import aligned, run
from xaimed_kernels.emulator import Counts


def words(count: int) -> np.ndarray:
    room = aligned(np.zeros(count + 32, np.uint32))
    return room[-room.ctypes.data % 128 // 4 :][:count]  # sectors begin where the array does


def test_instructions_are_counted_for_each_warp_that_executes_them():
    """64 threads: three instructions for both warps before the branch, one that a warp skips, two after, the end."""
    body = """
        setp.lt.u32 %p1, %r0, 32;
        @%p1 bra $L__BB0_1;
        add.s32 %r1, %r0, 1;
    $L__BB0_1:
        add.s32 %r2, %r0, 1;
        @%p1 add.s32 %r2, %r0, 2;
    """
    counts = run(body, []).counts
    assert counts is not None
    # the predicated addition is issued to both warps; mov of the thread's number and ret are the frame's
    assert counts.by_opcode == {"mov.u32": 2, "setp.lt.u32": 2, "bra": 2, "add.s32": 1 + 2 + 2, "ret": 2}
    assert counts.warp_instructions == 13
    many = run(body, [], blocks=300).counts
    assert many is not None
    assert many.warp_instructions == 300 * 13


@pytest.mark.parametrize(
    ("stride", "width", "sectors"),
    [
        (4, "b32", 4),  # 32 words side by side
        (0, "b32", 1),  # one word for all
        (32, "b32", 32),  # a sector each
        (16, "v4.b32", 16),
        (2, "b16", 2),
        (8, "b64", 8),
    ],
)
def test_sectors_that_a_warp_asks_for(stride, width, sectors):
    target = {"b32": "%r1", "v4.b32": "{ %r1, %r2, %r3, %r4 }", "b16": "%rs1", "b64": "%rd5"}[width]
    size = {"b32": 4, "v4.b32": 16, "b16": 2, "b64": 8}[width]
    body = f"mad.wide.u32 %rd1, %r0, {stride}, %rd0;\nld.global.{width} {target}, [ %rd1 + 0 ];"
    counts = run(body, [words(1024)]).counts
    assert counts is not None
    assert (counts.loads, counts.loaded_sectors, counts.loaded_bytes) == (2, 2 * sectors, 64 * size)
    assert counts.touched_sectors == (1 if stride == 0 else 2 * sectors)
    assert counts.stores == 0


def test_touched_sectors_count_once_in_a_launch():
    body = (
        "mad.wide.u32 %rd1, %r0, 4, %rd0;\nst.global.b32 [ %rd1 + 0 ], 1;\nld.global.b32 %r1, [ %rd1 + 0 ];"
    )
    counts = run(body, [words(64)], blocks=5).counts
    assert counts is not None
    assert counts.touched_sectors == 8
    assert counts.stored_sectors == counts.loaded_sectors == 5 * 8


@pytest.mark.parametrize(
    ("stride", "width", "cycles"),
    [
        (4, "b32", 1),
        (0, "b32", 1),  # a word is given to all that ask
        (8, "b32", 2),
        (128, "b32", 32),  # one bank
        (132, "b32", 1),
        (16, "v4.b32", 4),  # 512 bytes, 128 a cycle
        (32, "v4.b32", 8),
        (8, "v2.b32", 2),
    ],
)
def test_conflicts_of_banks(stride, width, cycles):
    target = {"b32": "%r3", "v4.b32": "{ %r3, %r4, %r5, %r6 }", "v2.b32": "{ %r3, %r4 }"}[width]
    body = f"""
        mov.b32 %r1, global_smem;
        mad.lo.s32 %r2, %r0, {stride}, %r1;
        st.shared.{width} [ %r2 + 0 ], {target};
    """
    counts = run(body, [], shared=16384).counts
    assert counts is not None
    assert (counts.shared_accesses, counts.shared_cycles) == (2, 2 * cycles)


def test_counts_add_up():
    one = Counts(warp_instructions=3, loads=1, by_opcode=Counter({"add.s32": 3}))
    total = Counts()
    total.add(one)
    total.add(one)
    assert (total.warp_instructions, total.loads, total.stores, total.by_opcode) == (6, 2, 0, {"add.s32": 6})
