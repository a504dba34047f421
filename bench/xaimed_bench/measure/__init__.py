"""Measure two implementations of one computation against each other: checked first, then interleaved.

`xaimed_bench.measure.case` is left to be imported by name: its rows need msgspec, and `xaimed doctor` does without.
"""

from xaimed_bench.measure.fidelity import Judge, agree_within, nearer_sign, of_maps, of_values
from xaimed_bench.measure.machine import machine_facts
from xaimed_bench.measure.plan import PROFILES, Plan, ProfileName

__all__ = [
    "PROFILES",
    "Judge",
    "Plan",
    "ProfileName",
    "agree_within",
    "machine_facts",
    "nearer_sign",
    "of_maps",
    "of_values",
]
