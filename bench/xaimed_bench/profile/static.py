"""Every kernel compiled for every GPU without one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from multiprocessing import get_context
from typing import Any, final

from xaimed_bench.device import usable_cores
from xaimed_bench.progress import Steps
from xaimed_kernels.launching import KernelCase
from xaimed_kernels.offline import TARGETS, Architecture, CompiledFacts, compile_offline, offline_cases


@final
@dataclass(frozen=True)
class Job:
    kernel: str
    target: Architecture


def compiler_name() -> str:
    """Triton and the assemblers it carries: figures hold for these versions only."""
    from triton import knobs

    tools = {"ptxas": knobs.nvidia.ptxas}
    blackwell = getattr(knobs.nvidia, "ptxas_blackwell", None)
    tools |= {"ptxas-blackwell": blackwell} if blackwell is not None else {}
    return ", ".join(
        [f"triton {version('triton')}", *(f"{n} {_release(str(t.path))}" for n, t in tools.items())]
    )


def jobs(only: str | None = None) -> list[Job]:
    """Everything to compile. ``only``: a part of the kernel's name, or a target such as sm_90."""
    every = [Job(kernel, target) for kernel in configurations() for target in TARGETS]
    return [job for job in every if only is None or only in job.kernel or only == target_name(job.target)]


def compile_all(
    wanted: Sequence[Job], *, processes: int | None = None
) -> dict[str, dict[str, dict[str, int]]]:
    """The figures of each job by kernel and target. ``processes``: by default one a core.

    What Triton's cache holds is not compiled again, so a run that was stopped goes on where it was.
    """
    found: dict[str, dict[str, dict[str, int]]] = {}
    steps = Steps("kernel", len(wanted), short=True)
    with steps, _compile_each(wanted, processes or usable_cores()) as results:
        for job, figures in results:
            found.setdefault(job.kernel, {})[target_name(job.target)] = figures
            steps.begin(f"{job.kernel} for {target_name(job.target)}")
    return found


@cache
def configurations() -> dict[str, KernelCase]:
    """Every configuration of every kernel by a name that lasts.

    Compiled for launches of which Triton knows least and, where those differ, for those of which it knows most
    ("aligned"): these load widely.
    """
    found: dict[str, KernelCase] = {}
    for least, most in zip(*(_by_operation(known) for known in ("least", "most")), strict=True):
        for name in least:
            _add(found, short(name), least[name])
            if (least[name].constants, least[name].divisible) != (most[name].constants, most[name].divisible):
                _add(found, f"{short(name)} aligned", most[name])
    return found


def short(name: str) -> str:
    """A kernel's name without the hashes that formulas bear, so that it stays when the text of one changes."""
    return re.sub(r"_[0-9a-f]{12}(?=[+)])", "", name)


def target_name(target: Architecture) -> str:
    """``90`` as sm_90, "gfx942" as it is."""
    return target if isinstance(target, str) else f"sm_{target}"


def select_figures(facts: CompiledFacts) -> dict[str, int]:
    """The figures that are kept, by name; zeros left out."""
    loads = {f"global_load_{bits}": count for bits, count in facts.counts.load_bits.items()}
    figures = {
        "registers": facts.registers,
        "spilled_bytes": facts.spilled_bytes,
        "shared_bytes": facts.shared_bytes,
        "instructions": facts.instructions,
    }
    return {name: n for name, n in {**figures, **facts.counts.classes, **loads}.items() if n}


def _by_operation(known: Any) -> Iterable[dict[str, KernelCase]]:
    return ({case.name: case for case in cases} for cases in offline_cases(known=known).values())


def _add(found: dict[str, KernelCase], name: str, case: KernelCase) -> None:
    if name in found:
        raise ValueError(f"two configurations are called {name}; give their formulas names of their own")
    found[name] = case


def _compile(job: Job) -> tuple[Job, dict[str, int]]:
    return job, select_figures(compile_offline(configurations()[job.kernel], job.target))


@contextmanager
def _compile_each(wanted: Sequence[Job], processes: int) -> Generator[Iterable[tuple[Job, dict[str, int]]]]:
    if processes == 1:
        yield map(_compile, wanted)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        try:
            yield (done.result() for done in as_completed([pool.submit(_compile, job) for job in wanted]))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _release(tool: str) -> str:
    said = subprocess.run((tool, "--version"), capture_output=True, text=True, check=True).stdout
    found = re.search(r"release (\S+?),", said)
    return found[1] if found else "unknown"
