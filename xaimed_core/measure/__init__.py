"""Measure two implementations of one computation against each other: checked first, then interleaved."""

from .case import Question, measure_case
from .fidelity import Judge, of_maps, of_values
from .machine import machine_facts
from .plan import PROFILES, Plan, ProfileName

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
