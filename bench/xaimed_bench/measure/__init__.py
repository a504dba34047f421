"""Measure two implementations of one computation against each other: checked first, then interleaved."""

from xaimed_bench.measure.case import Question, measure_case
from xaimed_bench.measure.fidelity import Judge, of_maps, of_values
from xaimed_bench.measure.machine import machine_facts
from xaimed_bench.measure.plan import PROFILES, Plan, ProfileName

__all__ = [
    "PROFILES",
    "Judge",
    "Plan",
    "ProfileName",
    "Question",
    "machine_facts",
    "measure_case",
    "of_maps",
    "of_values",
]
