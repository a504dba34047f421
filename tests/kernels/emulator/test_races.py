"""What no barrier orders is a race: inside a warp, between warps, between blocks."""

import numpy as np
import pytest

from tests.kernels.emulator.written import aligned, faults, run
from xaimed_kernels.emulator import Fault


def words(count: int) -> np.ndarray:
    return aligned(np.arange(count, dtype=np.uint32))


THROUGH_SHARED = """
    mov.b32 %r1, global_smem;
    mad.lo.s32 %r2, %r0, 4, %r1;
    st.shared.b32 [ %r2 + 0 ], %r0;
    {first}
    xor.b32 %r3, %r0, {partner};
    mad.lo.s32 %r4, %r3, 4, %r1;
    ld.shared.b32 %r5, [%r4];
    {second}
    st.shared.b32 [ %r2 + 0 ], %r5;
    mad.wide.u32 %rd1, %r0, 4, %rd0;
    st.global.b32 [ %rd1 + 0 ], %r5;
"""
"""Each thread writes its number, reads that of its partner, and overwrites its own place with it."""


def exchange(partner: int, first: str, second: str):
    out = words(64)
    launch = run(THROUGH_SHARED.format(partner=partner, first=first, second=second), [out])
    assert np.array_equal(out, np.arange(64) ^ partner)
    return launch


BLOCK, WARP, NOTHING = "bar.sync 0;", "bar.warp.sync -1;", ""


@pytest.mark.parametrize(
    ("partner", "first", "second", "expected"),
    [
        (33, BLOCK, BLOCK, set()),
        (33, NOTHING, BLOCK, {Fault.RACE_BETWEEN_WARPS}),
        (33, BLOCK, NOTHING, {Fault.RACE_BETWEEN_WARPS}),
        (33, WARP, WARP, {Fault.RACE_BETWEEN_WARPS}),
        (1, BLOCK, BLOCK, set()),
        (1, WARP, WARP, set()),
        (1, NOTHING, WARP, {Fault.RACE_IN_WARP}),
        (1, WARP, NOTHING, {Fault.RACE_IN_WARP}),
    ],
)
def test_what_no_barrier_orders_is_a_race(partner, first, second, expected):
    assert faults(exchange(partner, first, second)) == expected


def test_a_race_names_both_threads_the_byte_and_the_instruction():
    (finding,) = exchange(33, NOTHING, BLOCK).findings
    assert finding.fault is Fault.RACE_BETWEEN_WARPS
    assert finding.times == 64
    assert finding.instruction == "ld.shared.b32 %r5, [%r4]"
    assert "read after write: thread 0 of block 0, after thread 33 of block 0, byte 132" in finding.example
    assert "race between warps in k at an unknown line" in str(finding)


def test_a_reader_among_many_is_not_forgotten():
    """All read one word; then the first thread, which was not the last to read, overwrites it."""
    body = """
        mov.b32 %r1, global_smem;
        setp.eq.b32 %p1, %r0, 0;
        @%p1 st.shared.b32 [ %r1 + 0 ], %r0;
        bar.sync 0;
        ld.shared.b32 %r2, [%r1];
        {barrier}
        @%p1 st.shared.b32 [ %r1 + 0 ], 7;
    """
    assert faults(run(body.format(barrier=""), [])) == {Fault.RACE_BETWEEN_WARPS}
    assert faults(run(body.format(barrier=""), [], threads=32)) == {Fault.RACE_IN_WARP}
    assert faults(run(body.format(barrier="bar.sync 0;"), [])) == set()


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("%r0", "%r1", {Fault.RACE_BETWEEN_BLOCKS}),  # both blocks write the same words, each its own number
        ("%r0", "5", set()),  # one value: whoever comes last
        ("%r2", "%r1", set()),  # words of its own
    ],
)
@pytest.mark.parametrize("batch", [64, 8192])
def test_blocks_that_write_to_one_place_race(place, value, expected, batch, monkeypatch):
    monkeypatch.setattr("xaimed_kernels.emulator.machine.MOST_THREADS", batch)
    body = f"""
        mov.u32 %r1, %ctaid.x;
        mad.lo.s32 %r2, %r1, 64, %r0;
        mad.wide.u32 %rd1, {place}, 4, %rd0;
        st.global.b32 [ %rd1 + 0 ], {value};
    """
    out = aligned(np.full(128, 99, np.uint32))
    assert faults(run(body, [out], blocks=2)) == expected


@pytest.mark.parametrize("batch", [64, 8192])
def test_a_block_that_overwrites_what_another_read_races(batch, monkeypatch):
    monkeypatch.setattr("xaimed_kernels.emulator.machine.MOST_THREADS", batch)
    body = """
        mov.u32 %r1, %ctaid.x;
        mad.wide.u32 %rd1, %r0, 4, %rd0;
        ld.global.b32 %r2, [ %rd1 + 0 ];
        setp.eq.b32 %p1, %r1, 1;
        add.s32 %r2, %r2, 1;
        @%p1 st.global.b32 [ %rd1 + 0 ], %r2;
    """
    assert faults(run(body, [words(64)], blocks=2)) == {Fault.RACE_BETWEEN_BLOCKS}
    assert faults(run(body, [words(64)], blocks=1)) == set()


def test_atomics_do_not_race_with_each_other_but_with_the_rest():
    body = """
        {plain}
        atom.global.gpu.acq_rel.max.s32 %r1, [ %rd0 + 0 ], %r0;
    """
    out = aligned(np.zeros(4, np.int32))
    assert faults(run(body.format(plain=""), [out], blocks=3)) == set()
    assert out[0] == 63
    out[0] = 0
    plain = "st.global.b32 [ %rd0 + 0 ], 1;"
    assert faults(run(body.format(plain=plain), [out], blocks=3)) == {Fault.RACE_IN_WARP}  # the first store's


def test_lanes_that_store_to_one_place_at_once_take_turns():
    """PTX promises that one of them wins, not which: so the first does, then the last."""
    body = """
        st.global.b32 [ %rd0 + 0 ], %r0;
        ld.global.b32 %r1, [ %rd0 + 0 ];
        bar.warp.sync -1;
        st.global.b32 [ %rd0 + 4 ], %r0;
    """
    out = aligned(np.full(4, 99, np.uint32))
    launch = run(body, [out], threads=32)
    assert sorted(out[:2]) == [0, 31]
    assert faults(launch) == {Fault.RACE_IN_WARP}  # of the load, with the lane that won
