"""Each instruction against its definition: Python's integers, NumPy's floats, in whole kernels of one instruction."""

import numpy as np
import pytest

from tests.kernels.emulator.drawn import FLOATS, SIGNED, THREADS, UNSIGNED, floats, integers, wrapped
from tests.kernels.emulator.written import aligned, execute, run
from xaimed_kernels.emulator import UnknownInstructionError
from xaimed_kernels.emulator.instructions.arithmetic import arithmetic


def each(function, *arrays):
    return [function(*(int(v) for v in values)) for values in zip(*arrays, strict=True)]


def towards_zero(a: int, b: int) -> int:
    return -1 if b == 0 else abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


WHOLE = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul.lo": lambda a, b: a * b,
    "min": min,
    "max": max,
    "div": towards_zero,
    "rem": lambda a, b: a - b * towards_zero(a, b) if b else a,
}


@pytest.mark.parametrize("name", ["s16", "u16", "s32", "u32", "s64", "u64"])
@pytest.mark.parametrize("stem", WHOLE)
def test_integer_arithmetic_is_pythons_cut_to_the_type(stem, name):
    a, b = integers(name, 0), integers(name, 1)
    found = execute(f"{stem}.{name}", a, b, result=a.dtype.type)
    assert np.array_equal(found, wrapped(each(WHOLE[stem], a, b), name))


@pytest.mark.parametrize("name", ["s16", "u16", "s32", "u32"])
def test_wide_and_high_products_keep_all_bits(name):
    a, b = integers(name, 0), integers(name, 1)
    wide = f"{name[0]}{2 * int(name[1:])}"
    kind = wrapped([0], wide).dtype.type
    products = each(lambda x, y: x * y, a, b)
    assert np.array_equal(execute(f"mul.wide.{name}", a, b, result=kind), wrapped(products, wide))
    high = [p >> int(name[1:]) for p in products]
    assert np.array_equal(execute(f"mul.hi.{name}", a, b, result=a.dtype.type), wrapped(high, name))
    c = integers(wide, 2)
    total = each(lambda x, y, z: x * y + z, a, b, c)
    assert np.array_equal(execute(f"mad.wide.{name}", a, b, c, result=kind), wrapped(total, wide))


def test_multiply_add_keeps_the_low_bits():
    a, b, c = (integers("s32", seed) for seed in range(3))
    expected = wrapped(each(lambda x, y, z: x * y + z, a, b, c), "s32")
    assert np.array_equal(execute("mad.lo.s32", a, b, c, result=np.int32), expected)


def test_halves_are_added_without_a_carry():
    a, b = integers("u32", 0), integers("u32", 1)
    expected = each(lambda x, y: (x + y & 0xFFFF) | ((x >> 16) + (y >> 16) & 0xFFFF) << 16, a, b)
    assert np.array_equal(execute("add.s16x2", a, b, result=np.uint32), expected)


BITWISE = {"and": lambda a, b: a & b, "or": lambda a, b: a | b, "xor": lambda a, b: a ^ b}


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_bits_are_combined_and_shifted(bits):
    a, b = integers(f"u{bits}", 0), integers(f"u{bits}", 1)
    kind = UNSIGNED[bits]
    for stem, function in BITWISE.items():
        assert np.array_equal(execute(f"{stem}.b{bits}", a, b, result=kind), each(function, a, b))
    assert np.array_equal(execute(f"not.b{bits}", a, result=kind), ~a)
    by = np.resize(np.array([0, 1, 7, bits - 1, bits, bits + 5, 255], np.uint32), THREADS)
    left = wrapped(each(lambda x, n: x << n, a, by), f"u{bits}")
    assert np.array_equal(execute(f"shl.b{bits}", a, by, result=kind), left)
    assert np.array_equal(execute(f"shr.u{bits}", a, by, result=kind), each(lambda x, n: x >> n, a, by))
    s = a.view(SIGNED[bits])
    signed = execute(f"shr.s{bits}", s, by, result=SIGNED[bits])
    assert np.array_equal(signed, each(lambda x, n: x >> n, s, by))


@pytest.mark.parametrize("name", ["u32", "s32"])
def test_fields_are_extracted_and_inserted(name):
    """The definitions of the PTX ISA, bit by bit."""
    a, b = integers(name, 0), integers(name, 1)
    start = np.resize(np.array([0, 3, 16, 31, 32, 40], np.uint32), THREADS)
    length = np.resize(np.array([0, 1, 8, 31, 32, 33, 5], np.uint32), THREADS)

    def extract(x, p, n):
        last = min(p + n - 1, 31)
        sign = 0 if name == "u32" or n == 0 else x >> last & 1
        return sum((x >> p + i & 1 if i < n and p + i <= 31 else sign) << i for i in range(32))

    def insert(x, y, p, n):
        for i in range(n):
            if p + i < 32:
                y = (y & ~(1 << p + i)) | ((x >> i & 1) << p + i)
        return y

    found = execute(f"bfe.{name}", a, start, length, result=a.dtype.type)
    assert np.array_equal(found, wrapped(each(extract, a, start, length), name))
    if name == "u32":
        found = execute("bfi.b32", a, b, start, length, result=np.uint32)
        assert np.array_equal(found, each(insert, a, b, start, length))


def test_bytes_are_permuted():
    a, b, selection = (integers("u32", seed) for seed in range(3))

    def permute(x, y, chosen):
        octets = [(y << 32 | x) >> 8 * i & 0xFF for i in range(8)]
        result = 0
        for i in range(4):
            selector = chosen >> 4 * i & 0xF
            octet = octets[selector & 7]
            result |= (octet if selector < 8 else 0xFF * (octet >> 7)) << 8 * i
        return result

    assert np.array_equal(
        execute("prmt.b32", a, b, selection, result=np.uint32), each(permute, a, b, selection)
    )


FLOATING = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div.rn": np.divide,
    "div.full": np.divide,
    "min": np.fmin,
    "max": np.fmax,
    "min.NaN": np.minimum,
    "max.NaN": np.maximum,
}


@pytest.mark.parametrize("name", ["f32", "f64"])
@pytest.mark.parametrize("stem", FLOATING)
def test_floating_arithmetic_is_numpys(stem, name):
    a, b = floats(name, 0), floats(name, 1)
    with np.errstate(all="ignore"):
        expected = FLOATING[stem](a, b)
    found = execute(f"{stem}.{name}", a, b, result=FLOATS[name])
    assert np.array_equal(found, expected, equal_nan=True)


@pytest.mark.parametrize("name", ["f32", "f64"])
def test_one_operand_functions_are_numpys(name):
    a = floats(name, 0)
    with np.errstate(all="ignore"):
        expected = {
            "neg": -a, "abs": np.abs(a), "sqrt.rn": np.sqrt(a), "rcp.rn": FLOATS[name](1) / a,
        }  # fmt: skip
    for stem, values in expected.items():
        assert np.array_equal(execute(f"{stem}.{name}", a, result=FLOATS[name]), values, equal_nan=True)


def test_a_fused_sum_is_rounded_once():
    a = np.full(THREADS, 1 + 2.0**-12, np.float32)
    c = np.full(THREADS, -1 - 2.0**-11, np.float32)
    assert (execute("fma.rn.f32", a, a, c, result=np.float32) == np.float32(2.0**-24)).all()
    x, y, z = (floats("f32", seed) for seed in range(3))
    with np.errstate(all="ignore"):
        expected = (x.astype(np.float64) * y + z).astype(np.float32)
    assert np.array_equal(execute("fma.rn.f32", x, y, z, result=np.float32), expected, equal_nan=True)
    d, e = np.full(THREADS, 1 + 2.0**-30), np.full(THREADS, -1 - 2.0**-29)
    assert (execute("fma.rn.f64", d, d, e, result=np.float64) == 2.0**-60).all()


def test_flushing_takes_subnormals_for_zeros():
    tiny = np.resize(np.array([1e-40, -1e-40, 4.0, np.nan], np.float32), THREADS)
    root = execute("sqrt.approx.ftz.f32", tiny, result=np.float32)
    assert np.array_equal(root[:4], np.array([0, -0.0, 2, np.nan], np.float32), equal_nan=True)
    assert np.array_equal(np.signbit(root[:2]), [False, True])
    down = execute("cvt.rmi.ftz.f32.f32", tiny, result=np.float32)
    assert np.array_equal(down[:3], [0, 0, 4])  # without flushing, -1 for the second


COMPARED = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
            "ge": np.greater_equal}  # fmt: skip


@pytest.mark.parametrize("how", COMPARED)
def test_comparisons(how):
    a, b = floats("f32", 0), floats("f32", 1)
    unordered = np.isnan(a) | np.isnan(b)
    plain = COMPARED[how](a, b) & ~unordered
    assert np.array_equal(execute(f"setp.{how}.f32", a, b, result=np.bool_), plain)
    assert np.array_equal(execute(f"setp.{how}u.f32", a, b, result=np.bool_), plain | unordered)
    assert np.array_equal(execute("setp.nan.f32", a, b, result=np.bool_), unordered)
    assert np.array_equal(execute("setp.num.f32", a, b, result=np.bool_), ~unordered)
    for name in ("s32", "u32", "s64", "u64", "s16", "u16"):
        i, j = integers(name, 0), integers(name, 1)
        expected = each(lambda x, y: bool(COMPARED[how](x, y)), i.astype(object), j.astype(object))
        assert np.array_equal(execute(f"setp.{how}.{name}", i, j, result=np.bool_), expected)


def test_a_value_is_selected_by_a_predicate():
    """And predicates are combined, by registers and by guards."""
    out = aligned(np.zeros(64, np.uint32))
    body = """
        setp.lt.u32 %p1, %r0, 40;
        setp.gt.u32 %p2, %r0, 8;
        and.pred %p3, %p1, %p2;
        not.pred %p4, %p3;
        selp.b32 %r1, 5, 6, %p4;
        @%p3 add.s32 %r1, %r1, 10;
        @!%p3 add.s32 %r1, %r1, 20;
        mad.wide.u32 %rd1, %r0, 4, %rd0;
        st.global.b32 [ %rd1 + 0 ], %r1;
    """
    run(body, [out])
    tid = np.arange(64)
    assert np.array_equal(out, np.where((tid < 40) & (tid > 8), 16, 25))


def test_an_exponential_is_a_power_of_two():
    a = np.linspace(-20, 20, THREADS).astype(np.float32)
    np.testing.assert_allclose(execute("ex2.approx.f32", a, result=np.float32), 2.0 ** a.astype(float), 1e-6)


@pytest.mark.parametrize(
    "opcode",
    ["add.sat.s32", "add.rz.f32", "mul.s32", "cvt.sat.u32.f32", "cvt.rni.s32", "setp.zz.f32", "fma.f32",
     "div.approx.s32", "shl.clamp.b32", "min.xorsign.abs.f32", "cvt.s32.f32", "sqrt.f32x2"],
)  # fmt: skip
def test_what_is_not_modelled_is_refused(opcode):
    with pytest.raises(UnknownInstructionError, match=opcode):
        arithmetic(opcode)
