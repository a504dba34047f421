"""Measure two implementations of one computation against each other: checked first, then interleaved."""

from xaimed_bench.measure.case import Question, measure_case
from xaimed_bench.measure.fidelity import Judge, agree_within, nearer_sign, of_maps, of_values
from xaimed_bench.measure.machine import machine_facts
from xaimed_bench.measure.plan import PROFILES, Plan, ProfileName

__all__ = [
    "PROFILES",
    "Judge",
    "Plan",
    "ProfileName",
    "Question",
    "agree_within",
    "machine_facts",
    "measure_case",
    "nearer_sign",
    "of_maps",
    "of_values",
]
