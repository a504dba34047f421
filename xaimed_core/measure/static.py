"""Every kernel compiled for every GPU without one."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

from xaimed_kernels.offline import TARGETS, compile_offline, offline_cases


def compiler_name() -> str:
    """Triton and the assembler it carries: figures hold for these versions only."""
    from triton import knobs

    tool = str(knobs.nvidia.ptxas.path)
    said = subprocess.run((tool, "--version"), capture_output=True, text=True, check=True).stdout
    found = re.search(r"release (\S+?),", said)
    return f"triton {version('triton')}, ptxas {found[1] if found else 'unknown'}"


def compile_all(say: Callable[[str], Any]) -> dict[str, dict[str, int]]:
    """The figures of each kernel and target by name. ``say`` hears about the progress."""
    cases = [case for operation in offline_cases().values() for case in operation]
    began = time.perf_counter()
    found: dict[str, dict[str, int]] = {}
    for i, case in enumerate(cases):
        if i and i % 10 == 0:
            left_s = (time.perf_counter() - began) / i * (len(cases) - i)
            say(f"{i} of {len(cases)} kernels compiled, about {left_s:.0f} s left")
        for target in TARGETS:
            facts = asdict(compile_offline(case, target))
            found[f"{facts['target']}: {case.name}"] = {k: v for k, v in facts.items() if isinstance(v, int)}
    return found
