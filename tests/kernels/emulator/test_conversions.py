"""Numbers of one type become numbers of another: each conversion against NumPy."""

import math

import numpy as np
import pytest

from tests.kernels.emulator.drawn import FLOATS, THREADS, floats, integers, wrapped
from tests.kernels.emulator.written import execute

INTO_WHOLE = [
    (float_, whole, rounding)
    for float_ in ("f32", "f64")
    for whole in ("s32", "u32", "s64")
    for rounding in ("rzi", "rni", "rmi", "rpi")
]


@pytest.mark.parametrize(("float_", "whole", "rounding"), INTO_WHOLE)
def test_floats_become_integers_within_bounds(float_, whole, rounding):
    a = floats(float_, 0) * FLOATS[float_](3)
    a[-4:] = [2.0**31, -(2.0**31) - 4096, 2.0**63, -1e300 if float_ == "f64" else -1e38]
    round_ = {"rzi": math.trunc, "rni": round, "rmi": math.floor, "rpi": math.ceil}[rounding]
    kind = wrapped([0], whole).dtype.type
    low, high = np.iinfo(kind).min, np.iinfo(kind).max

    def convert(value: float) -> int:
        if math.isnan(value):
            return 0
        return min(max(round_(value), low), high) if math.isfinite(value) else (high if value > 0 else low)

    found = execute(f"cvt.{rounding}.{whole}.{float_}", a, result=kind)
    assert np.array_equal(found, [convert(float(value)) for value in a])


@pytest.mark.parametrize("name", ["s16", "u16", "s32", "u32", "s64", "u64"])
def test_integers_become_floats_and_wider_or_narrower_integers(name):
    a = integers(name, 0)
    for float_, kind in (("f32", np.float32), ("f64", np.float64)):
        assert np.array_equal(execute(f"cvt.rn.{float_}.{name}", a, result=kind), a.astype(kind))
    for other in ("s16", "u16", "s32", "u32", "s64", "u64"):
        expected = wrapped(a, other)
        assert np.array_equal(execute(f"cvt.{other}.{name}", a, result=expected.dtype.type), expected)


def test_bfloat16_is_rounded_to_even():
    bits = np.array([0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x7FC00000, 0x80000001], np.uint32)
    a = np.resize(bits, THREADS).view(np.float32)
    found = execute("cvt.rn.bf16.f32", a, result=np.uint16)
    assert [hex(v) for v in found[:6]] == ["0x3f80", "0x3f82", "0x3f81", "0x7f80", "0x7fff", "0x8000"]
    back = execute("cvt.f32.bf16", found, result=np.float32)
    assert np.array_equal(back, (found.astype(np.uint32) << 16).view(np.float32), equal_nan=True)
    assert execute("setp.gt.bf16", found, np.zeros_like(found), result=np.bool_)[:6].tolist() == [
        True, True, True, True, False, False,
    ]  # fmt: skip


def test_float16_is_numpys():
    a = floats("f32", 0)
    with np.errstate(over="ignore"):
        half = a.astype(np.float16)
    assert np.array_equal(execute("cvt.rn.f16.f32", a, result=np.float16), half, equal_nan=True)
    wide = execute("cvt.f32.f16", half, result=np.float32)
    assert np.array_equal(wide, half.astype(np.float32), equal_nan=True)
