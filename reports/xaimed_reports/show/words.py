"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Mapping

from xaimed_reports.store.devices import device_name
from xaimed_reports.store.records import Fidelity, Run

SHOWN_VERSIONS = ("python", "torch", "triton", "grad-cam", "torchcam", "captum")


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
    if value is None:
        return "-"
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if value >= size:
            return f"{value / size:.3g} {unit}" if value / size < 1000 else f"{value / size:.0f} {unit}"
    return f"{value / 1e-9:.3g} ns"


def byte_count(value: int | None) -> str:
    """``1048576`` as "1 MiB"; None as a dash."""
    if value is None:
        return "-"
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if value >= 2**power:
            return (
                f"{value / 2**power:.3g} {unit}"
                if value < 1000 * 2**power
                else f"{value / 2**power:.0f} {unit}"
            )
    return f"{value} B"


def times(value: float | None) -> str:
    """``3.142`` as "3.14x"; None as a dash."""
    if value is None:
        return "-"
    return f"{value:.3g}x" if value < 1000 else f"{value:,.0f}x"


def difference(fidelity: Fidelity | None) -> str:
    """The largest difference, e.g. "3.1e-06"; a dash where nothing was compared."""
    return "-" if fidelity is None else f"{fidelity.largest:.1e}"


def machine_line(run: Run) -> str:
    """The machine, the software and the images of a run in one sentence."""
    machine = run.machine
    versions = ", ".join(
        f"{name} {machine.versions[name]}" for name in SHOWN_VERSIONS if name in machine.versions
    )
    revision = f"revision {run.revision}, " if run.revision else ""
    about = f"images: {run.images_from}; profile {run.profile}; {revision}{run.started_utc}"
    return f"{device_name(machine)}; {versions}; {about}."
