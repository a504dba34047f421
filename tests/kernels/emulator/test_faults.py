"""Kernels with one fault each, and beside it the same kernel without: the emulator tells them apart."""

import numpy as np
import pytest

from tests.kernels.emulator.written import aligned, faults, ptx, run
from xaimed_kernels.emulator import Fault, Kernel, Storage, UnknownInstructionError, parse


def words(count: int) -> np.ndarray:
    return aligned(np.arange(count, dtype=np.uint32))


@pytest.mark.parametrize(
    ("offset", "width", "expected"),
    [
        (0, "b32", set()),
        (4, "b32", {Fault.OUTSIDE}),  # the last thread reaches beyond
        (-4, "b32", {Fault.OUTSIDE}),
        (2, "b32", {Fault.MISALIGNED, Fault.OUTSIDE}),
        (0, "v2.b32", {Fault.MISALIGNED, Fault.OUTSIDE}),  # every second one, and the last
        (1, "b16", {Fault.MISALIGNED}),
    ],
)
def test_accesses_outside_of_memory_and_askew(offset, width, expected):
    target = {"b32": "%r1", "v2.b32": "{ %r1, %r2 }", "b16": "%rs1"}[width]
    body = f"mad.wide.u32 %rd1, %r0, 4, %rd0;\nld.global.{width} {target}, [ %rd1 + {offset} ];"
    launch = run(body, [words(64)])
    assert faults(launch) == expected
    if expected == {Fault.OUTSIDE}:
        assert launch.findings[0].times == 1


def test_shared_memory_has_bounds_for_each_block():
    body = "mov.b32 %r1, global_smem;\nmad.lo.s32 %r2, %r0, 4, %r1;\nst.shared.b32 [ %r2 + 0 ], %r0;"
    assert faults(run(body, [], blocks=3, shared=256)) == set()
    launch = run(body, [], blocks=3, shared=240)
    assert faults(launch) == {Fault.OUTSIDE}
    assert launch.findings[0].times == 3 * 4


def test_shared_memory_that_nobody_wrote_is_noted():
    body = """
        mov.b32 %r1, global_smem;
        mad.lo.s32 %r2, %r0, 4, %r1;
        setp.lt.u32 %p1, %r0, {written};
        @%p1 st.shared.b32 [ %r2 + 0 ], %r0;
        bar.sync 0;
        ld.shared.b32 %r3, [%r2];
    """
    assert faults(run(body.format(written=64), [])) == set()
    launch = run(body.format(written=60), [])
    assert faults(launch) == {Fault.UNINITIALISED}
    assert launch.findings[0].times == 4


DIVERGENT = """
    setp.lt.u32 %p1, %r0, {limit};
    @%p1 bra $L__BB0_2;
    {before}
$L__BB0_2:
    {after}
"""


@pytest.mark.parametrize(
    ("limit", "before", "after", "expected"),
    [
        (8, "", "bar.sync 0;", set()),  # apart, and together again
        (8, "bar.sync 0;", "bar.sync 0;", {Fault.DIVERGENT_BARRIER}),  # some wait at one, some at another
        (8, "ret;", "bar.sync 0;", {Fault.DIVERGENT_BARRIER}),  # some have left
        (8, "ret;", "mov.b32 %r1, 0;", set()),
        (64, "bar.sync 0;", "bar.sync 0;", set()),
        (8, "", "bar.warp.sync -1;", set()),
        (8, "bar.warp.sync -1;", "", {Fault.MISSING_LANES}),
        (32, "bar.warp.sync -1;", "", set()),  # a whole warp elsewhere
        (8, "shfl.sync.bfly.b32 %r1, %r0, 1, 31, -1;", "", {Fault.MISSING_LANES}),
    ],
)
def test_barriers_and_exchanges_need_everybody(limit, before, after, expected):
    body = DIVERGENT.format(limit=limit, before=before, after=after)
    assert faults(run(body, [])) == expected
    assert faults(run(body, [], blocks=5)) == expected


COPY = """
    mov.b32 %r1, global_smem;
    mad.lo.s32 %r2, %r0, 16, %r1;
    mad.wide.u32 %rd2, %r0, 16, %rd0;
    mov.b32 %r3, 16;
    cp.async.cg.shared.global [ %r2 + 0 ], [ %rd2 + 0 ], 16, %r3;
    cp.async.commit_group;
    {wait}
    xor.b32 %r4, %r0, {partner};
    mad.lo.s32 %r5, %r4, 16, %r1;
    ld.shared.v4.b32 {{%r6, %r7, %r8, %r9}}, [%r5];
    mad.wide.u32 %rd3, %r0, 4, %rd1;
    st.global.b32 [ %rd3 + 0 ], %r9;
"""


@pytest.mark.parametrize(
    ("partner", "wait", "expected"),
    [
        (0, "cp.async.wait_group 0;", set()),
        (0, "", {Fault.UNFINISHED_COPY}),
        (0, "cp.async.wait_group 1;", {Fault.UNFINISHED_COPY}),  # it may be the last group
        (33, "cp.async.wait_group 0; bar.sync 0;", set()),
        (33, "cp.async.wait_group 0;", {Fault.RACE_BETWEEN_WARPS}),
    ],
)
def test_copies_are_there_after_the_wait(partner, wait, expected):
    source, out = words(256), words(64)
    launch = run(COPY.format(wait=wait, partner=partner), [source, out])
    assert faults(launch) == expected
    if not expected:
        assert np.array_equal(out, 4 * (np.arange(64) ^ partner) + 3)


def test_loops_run_as_often_as_each_thread_asks():
    """A sum of the first numbers, as many as the thread's own and its block's, by an indexed branch at the end."""
    body = """
        mov.u32 %r1, %ctaid.x;
        add.s32 %r1, %r1, %r0;
        mov.b32 %r2, 0;
        mov.b32 %r3, 0;
    $L__BB0_1:
        setp.ge.s32 %p1, %r3, %r1;
        @%p1 bra $L__BB0_2;
        add.s32 %r3, %r3, 1;
        add.s32 %r2, %r2, %r3;
        bra.uni $L__BB0_1;
    $L__BB0_2:
        and.b32 %r4, %r0, 1;
    $L_brx_0: .branchtargets
        $L__BB0_3,
        $L__BB0_4;
        brx.idx %r4, $L_brx_0;
    $L__BB0_4:
        neg.s32 %r2, %r2;
    $L__BB0_3:
        mov.u32 %r5, %ctaid.x;
        mad.lo.s32 %r6, %r5, 64, %r0;
        mad.wide.u32 %rd1, %r6, 4, %rd0;
        st.global.b32 [ %rd1 + 0 ], %r2;
    """
    out = aligned(np.zeros(192, np.int32))
    assert faults(run(body, [out], blocks=3)) == set()
    n = np.arange(64) + np.arange(3)[:, None]
    assert np.array_equal(out.reshape(3, 64), n * (n + 1) // 2 * np.where(np.arange(64) % 2, -1, 1))


def test_lanes_exchange_and_reduce():
    body = """
        shfl.sync.bfly.b32 %r1, %r0, 5, 31, -1;
        shfl.sync.idx.b32 %r2, %r0, 3, 31, -1;
        redux.sync.add.s32 %r3, %r0, -1;
        redux.sync.max.s32 %r4, %r0, -1;
        mad.wide.u32 %rd1, %r0, 16, %rd0;
        st.global.v4.b32 [ %rd1 + 0 ], { %r1, %r2, %r3, %r4 };
    """
    out = aligned(np.zeros(256, np.uint32))
    run(body, [out])
    tid = np.arange(64)
    first = tid // 32 * 32
    expected = np.stack([tid ^ 5, first + 3, 32 * first + 496, first + 31], 1)
    assert np.array_equal(out.reshape(64, 4), expected)


@pytest.mark.parametrize("transposed", ["", ".trans"])
def test_matrices_go_to_shared_memory_and_back(transposed):
    """A matrix stored by rows is read by rows, or by columns; 8 lanes point at its rows of 16 bytes."""
    body = f"""
        mov.b32 %r1, global_smem;
        and.b32 %r2, %r0, 7;
        mad.lo.s32 %r3, %r2, 16, %r1;
        stmatrix.sync.aligned.m8n8.x1.shared.b16 [%r3], {{%r0}};
        bar.warp.sync -1;
        ldmatrix.sync.aligned.m8n8.x1{transposed}.shared.b16 {{%r4}}, [%r3];
        mad.wide.u32 %rd1, %r0, 4, %rd0;
        st.global.b32 [ %rd1 + 0 ], %r4;
    """
    out = aligned(np.zeros(32, np.uint32))
    assert faults(run(body, [out], threads=32)) == set()
    matrix = np.arange(32, dtype=np.uint32).view(np.uint16).reshape(8, 8)
    assert np.array_equal(out.view(np.uint16).reshape(8, 8), matrix.T if transposed else matrix)


@pytest.mark.parametrize(
    "instruction",
    ["tanh.approx.f32 %r1, %r0", "bar.sync 1, 32", "ld.global.nc.b32 %r1, [%rd0]",
     "shfl.sync.up.b32 %r1, %r0, 1, 0, -1",
     "mov.u32 %r1, %smid", "ld.local.b32 %r1, [%rd0]", "atom.global.gpu.acq_rel.cas.b32 %r1, [%rd0], %r0, %r0",
     "wgmma.fence.sync.aligned", "st.global.b32 [%rd0 + %rd0], %r0"],
)  # fmt: skip
def test_an_unknown_instruction_is_an_error_that_names_it(instruction):
    with pytest.raises(UnknownInstructionError, match="does not know") as raised:
        Kernel(parse(ptx(f"{instruction};", parameters=1)))
    assert instruction in str(raised.value)


def test_text_that_is_no_kernel_is_refused():
    with pytest.raises(ValueError, match="entry"):
        parse(".version 8.8")
    with pytest.raises(ValueError, match="reqntid"):
        parse(ptx("", parameters=0).replace(".reqntid 64", ""))
    with pytest.raises(ValueError, match="ends within"):
        parse(ptx("add.s32 %r1, %r1, 1", parameters=0).replace("ret;", ""))


def test_unchecked_runs_give_the_same_and_look_for_bounds_alone():
    kernel = Kernel(
        parse(ptx("st.global.b32 [ %rd0 + 0 ], %r0;\nld.global.b32 %r1, [ %rd0 + 64 ];", parameters=1))
    )
    out = words(4)
    storage = Storage("out", out.ctypes.data, out.nbytes)
    launch = kernel.run(
        2, [out.ctypes.data.to_bytes(8, "little")], [storage], 0, checked=False, counted=False
    )
    assert faults(launch) == {Fault.OUTSIDE}
    assert launch.counts is None
