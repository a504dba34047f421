"""Triton kernel that does nothing but multiply and add."""

import triton
import triton.language as tl


@triton.jit
def multiply_and_add_kernel(out_ptr, rounds, factor, summand, LONG: tl.constexpr, VALUES: tl.constexpr):
    """Each of ``VALUES`` values of a program: ``rounds * LONG`` times a fused product and sum."""
    place = tl.arange(0, VALUES)
    value = place * 1e-3
    for _ in range(rounds):
        for _ in tl.static_range(LONG):
            value = tl.fma(value, factor, summand)
    tl.store(out_ptr + tl.program_id(0) * VALUES + place, value)
