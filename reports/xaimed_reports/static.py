"""What the compiler made of every kernel: stored per compiler, and gated exactly."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from .jsonform import UnreadableError

Facts = Mapping[str, int]
"""Figures of one kernel on one target by name, e.g. registers, fma, global_load_128; those left out are 0."""
Found = Mapping[str, Mapping[str, Facts]]
"""By kernel and target, e.g. ``found["gram_kernel[...]"]["sm_90"]``."""

MOST_LISTED = 12


def load_static(path: Path, compiler: str) -> Found | None:
    """The accepted figures of this compiler ("triton 3.8.0, ptxas 12.9"); None where none were accepted yet.

    Raises UnreadableError for a file that holds something else.
    """
    stored = _read(path)
    if compiler not in stored:
        return None
    try:
        figures, kernels = stored[compiler]["figures"], stored[compiler]["kernels"]
        return {
            kernel: {
                target: {name: n for name, n in zip(figures, row, strict=True) if n}
                for target, row in rows.items()
            }
            for kernel, rows in kernels.items()
        }
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UnreadableError(f"{path.name}: not a static profile") from error


def store_static(path: Path, compiler: str, found: Found) -> None:
    """Accept these figures for this compiler; those of others stay. One line for each kernel and target."""
    stored = _read(path)
    figures = sorted({name for rows in found.values() for facts in rows.values() for name in facts})
    stored[compiler] = {
        "figures": figures,
        "kernels": {
            kernel: {
                target: [facts.get(name, 0) for name in figures] for target, facts in sorted(rows.items())
            }
            for kernel, rows in sorted(found.items())
        },
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_text(stored), encoding="utf-8")


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


def _read(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UnreadableError(f"{path.name}: not JSON") from error
    if not isinstance(stored, dict):
        raise UnreadableError(f"{path.name}: not a static profile")
    return cast("dict[str, Any]", stored)


def _text(stored: Mapping[str, Any]) -> str:
    """JSON with a line for each row, so that a difference of two versions names what moved."""
    compilers: list[str] = []
    for compiler, held in sorted(stored.items()):
        kernels = ",\n".join(
            f"   {json.dumps(kernel)}: {{\n"
            + ",\n".join(f"    {json.dumps(target)}: {json.dumps(row)}" for target, row in rows.items())
            + "\n   }"
            for kernel, rows in held["kernels"].items()
        )
        compilers.append(
            f' {json.dumps(compiler)}: {{\n  "figures": {json.dumps(held["figures"])},\n'
            f'  "kernels": {{\n{kernels}\n  }}\n }}'
        )
    return "{\n" + ",\n".join(compilers) + "\n}\n"
