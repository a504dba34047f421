"""What the compiler made of every kernel: stored per compiler, and gated exactly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

from xaimed_reports.store.jsonform import UnreadableError, from_json, read_object
from xaimed_reports.store.kinds import named
from xaimed_reports.store.writing import write_whole

Facts = Mapping[str, int]
"""Figures of one kernel on one target by name, e.g. registers, fma, global_load_128; those left out are 0."""
Found = Mapping[str, Mapping[str, Facts]]
"""By kernel and target, e.g. ``found["gram_kernel[...]"]["sm_90"]``."""

MOST_LISTED = 12


@final
@dataclass(frozen=True)
class Accepted:
    """What was accepted for one compiler: the figures' names, and a row of them by kernel and target."""

    figures: tuple[str, ...]
    kernels: dict[str, dict[str, tuple[int, ...]]]

    def __post_init__(self) -> None:
        """Raise ValueError where a row does not hold every figure."""
        if any(len(row) != len(self.figures) for rows in self.kernels.values() for row in rows.values()):
            raise ValueError("every row must hold one number for each figure")


def load_static(path: Path, compiler: str) -> Found | None:
    """The accepted figures of this compiler ("triton 3.8.0, ptxas 12.9"); None where none were accepted yet.

    Raises UnreadableError for a file that holds something else.
    """
    accepted = _read(path).get(compiler)
    if accepted is None:
        return None
    return {
        kernel: {
            target: {name: n for name, n in zip(accepted.figures, row, strict=True) if n}
            for target, row in rows.items()
        }
        for kernel, rows in accepted.kernels.items()
    }


def store_static(path: Path, compiler: str, found: Found) -> None:
    """Accept these figures for this compiler; those of others stay. One line for each kernel and target."""
    stored = _read(path)
    figures = tuple(sorted({name for rows in found.values() for facts in rows.values() for name in facts}))
    kernels = {
        kernel: {
            target: tuple(facts.get(name, 0) for name in figures) for target, facts in sorted(rows.items())
        }
        for kernel, rows in sorted(found.items())
    }
    stored[compiler] = Accepted(figures, kernels)
    write_whole(path, _text(stored))


def static_changes(accepted: Found, found: Found, *, whole: bool = True) -> list[str]:
    """Every difference in one line each: a kernel that came or went, or the figures of one that moved.

    ``whole=False``: only some kernels were compiled, so none is called gone.
    """
    before, now = dict(_flat(accepted)), dict(_flat(found))
    lines = [f"new: {kernel} on {target}" for kernel, target in now if (kernel, target) not in before]
    lines += [
        f"gone: {kernel} on {target}" for kernel, target in before if whole and (kernel, target) not in now
    ]
    for key in before.keys() & now.keys():
        moved = _moved(before[key], now[key])
        lines += [f"changed: {key[0]} on {key[1]}: {', '.join(moved)}"] if moved else []
    return sorted(lines)


def static_summary(found: Found) -> list[str]:
    """What a reader wants to know first: kernels that spill, and those that take most registers."""
    spills = sorted(
        (
            (f["spilled_bytes"], kernel, target)
            for (kernel, target), f in _flat(found)
            if f.get("spilled_bytes")
        ),
        reverse=True,
    )
    spilling = {kernel for _, kernel, _ in spills}
    lines = [f"{len(spilling)} of {len(found)} configurations spill registers on some target"]
    lines += _listed(
        f"{kernel}: "
        + ", ".join(f"{count} bytes on {target}" for count, name, target in spills if name == kernel)
        for kernel in dict.fromkeys(kernel for _, kernel, _ in spills)
    )
    worst = sorted(
        (max((facts.get("registers", 0), target) for target, facts in rows.items()), kernel)
        for kernel, rows in found.items()
    )
    lines.append("most registers of a thread")
    lines += _listed(f"{name}: {count} on {on}" for (count, on), name in worst[: -MOST_LISTED - 1 : -1])
    return lines


def _listed(lines: Iterable[str]) -> list[str]:
    found = [f"- {line}" for line in lines]
    more = len(found) - MOST_LISTED
    return [*found[:MOST_LISTED], *([f"- and {more} more"] if more > 0 else [])]


def _moved(before: Facts, now: Facts) -> list[str]:
    names = dict.fromkeys((*before, *now))
    return [
        f"{n} {before.get(n, 0)} -> {now.get(n, 0)}"
        for n in sorted(names)
        if before.get(n, 0) != now.get(n, 0)
    ]


def _flat(found: Found) -> Iterable[tuple[tuple[str, str], Facts]]:
    return (((kernel, target), facts) for kernel, rows in found.items() for target, facts in rows.items())


def _read(path: Path) -> dict[str, Accepted]:
    stored = read_object(path) if path.exists() else {}
    try:
        return {name: from_json(Accepted, held, name) for name, held in stored.items()}
    except UnreadableError as error:
        raise UnreadableError(
            f"{path.name}: {named(stored, f'not a static profile: {error}', wanted='static')}"
        ) from error


def _text(stored: Mapping[str, Accepted]) -> str:
    """JSON with a line for each row, so that a difference of two versions names what moved."""
    compilers: list[str] = []
    for compiler, held in sorted(stored.items()):
        kernels = ",\n".join(
            f"   {json.dumps(kernel)}: {{\n"
            + ",\n".join(f"    {json.dumps(target)}: {json.dumps(row)}" for target, row in rows.items())
            + "\n   }"
            for kernel, rows in held.kernels.items()
        )
        compilers.append(
            f' {json.dumps(compiler)}: {{\n  "figures": {json.dumps(held.figures)},\n'
            f'  "kernels": {{\n{kernels}\n  }}\n }}'
        )
    return "{\n" + ",\n".join(compilers) + "\n}\n"
