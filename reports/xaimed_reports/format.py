"""Numbers and names as people read them: the one place for the terminal, Markdown and the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from xaimed_reports.store.devices import device_name
from xaimed_reports.store.records import OURS, REFERENCE, Fidelity, Machine

if TYPE_CHECKING:  # rows need msgspec, which `pip install .` alone does not bring
    from xaimed_reports.store.rows import Row, Run

SHOWN_VERSIONS = ("python", "torch", "triton", "grad-cam", "torchcam", "captum")

XAIMED = "xaimed"


def printable(text: str) -> str:
    """A text without what could steer a terminal, or turn the direction of writing: such signs become "?"."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def say(text: str, file: TextIO | None = None) -> None:
    """Print a text (to stdout where no ``file`` is given), each line of it `printable`: the one way out to a terminal.

    Names of files, rows and classes come from anywhere.
    """
    print("\n".join(map(printable, text.split("\n"))), file=file, flush=True)


def program(row: Row) -> str:
    """Whose row it is: "xaimed", the reference by the name that it gives, e.g. "grad-cam", any other as stored."""
    return {OURS: XAIMED, REFERENCE: row.what.partition(" ")[0] or REFERENCE}.get(row.impl, row.impl)


NUMBERS = {"batch": "batch {}", "size": "{} px", "kept": "{} % kept"}
"""How the bare number of an axis is said."""


def case_words(axes: Mapping[str, str]) -> str:
    """A case's axes, e.g. "xgradcam resnet50 last, batch 4, 224 px": names first, numbers with what they count."""
    names = " ".join(value for value in axes.values() if not value.isdigit())
    numbers = [
        NUMBERS.get(axis, axis + " {}").format(value) for axis, value in axes.items() if value.isdigit()
    ]
    return ", ".join([name for name in (names, *numbers) if name])


def seconds(value: float | None) -> str:
    """``0.00123`` as "1.23 ms"; None as a dash."""
    return _in_units(value, (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)))


def byte_count(value: int | None) -> str:
    """``1048576`` as "1 MiB"; None as a dash."""
    return _in_units(value, (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0)))


def _in_units(value: float | None, units: Sequence[tuple[str, float]]) -> str:
    """Three digits in the largest unit that the value reaches."""
    if value is None:
        return "-"
    unit, size = next((u for u in units if value >= u[1]), units[-1])
    return f"{value / size:.3g} {unit}" if value / size < 1000 else f"{value / size:.0f} {unit}"


def number(value: float) -> str:
    """``3.142`` as "3.14", ``12345`` as "12,345"."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def times(value: float | None) -> str:
    """``3.142`` as "3.14x"; None as a dash."""
    return "-" if value is None else f"{number(value)}x"


def difference(fidelity: Fidelity | None) -> str:
    """The largest difference, e.g. "3.1e-06"; a dash where nothing was compared."""
    return "-" if fidelity is None else f"{fidelity.largest:.1e}"


def versions(machine: Machine) -> str:
    """The packages whose versions decide what is fast."""
    return ", ".join(
        f"{name} {machine.versions[name]}" for name in SHOWN_VERSIONS if name in machine.versions
    )


def machine_line(run: Run) -> str:
    """The machine, the software and the images of a run in one sentence."""
    revision = f"revision {run.revision}, " if run.revision else ""
    about = f"images: {run.images_from}; profile {run.profile}; {revision}{run.started_utc}"
    return f"{device_name(run.machine)}; {versions(run.machine)}; {about}."
