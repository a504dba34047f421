"""Figures that are compared exactly with those accepted for the same compiler."""

from __future__ import annotations

from collections.abc import Callable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, final

from xaimed_reports.format import say
from xaimed_reports.profile.static import Found, load_static, static_changes, store_static
from xaimed_reports.store.jsonform import UnusableError

Wanted = TypeVar("Wanted", bound=Sized)


@final
@dataclass(frozen=True)
class Gate(Generic[Wanted]):
    """What is gated: ``units`` and their ``figures`` in words, which of them are wanted, and how they are found."""

    compiler: str
    """For whose version alone figures hold."""
    units: str
    figures: str
    choose: Callable[[str | None], Wanted]
    """Those whose name holds a text; all where None is given."""
    find: Callable[[Wanted], Found]


def run_gate(gate: Gate[Wanted], path: Path, *, accept: bool, only: str | None) -> int:
    """Compare with what ``path`` holds, or ``accept`` and store it there. 1 where something moved, else 0.

    Raises UnusableError where nothing was accepted yet, and where ``only`` names nothing.
    """
    if accept and only:
        raise UnusableError(f"--accept takes all {gate.units}; leave --only out")
    accepted = load_static(path, gate.compiler)
    if accepted is None and not accept:
        raise UnusableError(
            f"no {gate.figures} are accepted for {gate.compiler}; add --accept to take the present ones"
        )
    wanted = gate.choose(only)
    if not wanted:
        raise UnusableError(f"--only: nothing is called {only!r}")
    path.parent.mkdir(parents=True, exist_ok=True)
    found = gate.find(wanted)
    if accept:
        store_static(path, gate.compiler, found)
        say(f"{len(found)} {gate.units} accepted for {gate.compiler} in {path}")
        return 0
    lines = static_changes(accepted or {}, found, whole=only is None)
    say(
        "\n".join(lines)
        or f"all {len(found)} {gate.units} have the {gate.figures} accepted for {gate.compiler}"
    )
    return 1 if lines else 0
