"""A profile card as Markdown: one table for each part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from xaimed_reports.compare.sides import LOADED_SHARE
from xaimed_reports.format import byte_count, seconds, times, versions
from xaimed_reports.profile.card import PARTS, Agreement, Card, MethodRate, Roofs
from xaimed_reports.show.markdown import table
from xaimed_reports.store.devices import device_name

T = TypeVar("T")
COUNTED_S = 1.0
"""The machine's counters tick in hundredths of a second: over less than this they say nothing about others."""
TITLES = {
    "roofs": "What the device can do",
    "methods": "Images per second",
    "kernels": "Share of the roofs",
    "road": "ROAD",
    "agreement": "How far maps move",
    "memory": "Peak memory above what was resident",
    "energy": "Energy",
    "largest": "Largest batch that fits",
}


def card_markdown(card: Card, picture: str | None = None) -> str:
    """The whole card. ``picture``: where the roofline lies, relative to the Markdown."""
    parts = [
        f"# Profile of {device_name(card.machine)}",
        f"{versions(card.machine)}. Explained: {card.subject}.",
    ]
    for name in PARTS:
        if name in card.failed:
            parts += [f"## {TITLES[name]}", f"Failed: {card.failed[name]}"]
        elif getattr(card, name):
            parts += [f"## {TITLES[name]}", *_SECTIONS[name](card)]
            parts += [f"![Roofline]({picture})"] if name == "kernels" and picture else []
    return "\n\n".join([*parts, _when(card)])


def _measured(part: T | None) -> T:
    assert part is not None  # sections are written of measured parts only
    return part


def _roofs(card: Card) -> Iterable[str]:
    yield table(("what", "measured", "how"), _roof_rows(_measured(card.roofs)))


def _roof_rows(roofs: Roofs) -> list[tuple[str, ...]]:
    rows = [
        (
            "copy",
            f"{roofs.copy_bytes_per_s / 1e9:.3g} GB/s",
            f"read and written, {byte_count(roofs.copy_bytes)}",
        )
    ]
    rows += [
        (f"matrix product, {name}", f"{rate / 1e12:.3g} TFLOP/s", f"side {roofs.matrix_side}")
        for name, rate in roofs.matrix_flops_per_s.items()
    ]
    rows.append(("one more small operation", seconds(roofs.launch_s), "of many queued"))
    rows.append(("one small operation", seconds(roofs.round_trip_s), "started and waited for"))
    return rows


def _methods(card: Card) -> Iterable[str]:
    rows = _measured(card.methods)
    yield _grid(rows, _rate)
    yield (
        f"Batch {rows[0].batch}; in brackets the time in plain forward passes of the same variant. "
        "Everything was timed in turns in one run."
    )
    yield from _reasons(rows)


def _rate(row: MethodRate) -> str:
    if row.images_per_s is None or row.forwards is None:
        return "-"
    return f"{row.images_per_s:.3g} ({times(row.forwards)})"


def _kernels(card: Card) -> Iterable[str]:
    rows = _measured(card.kernels)
    yield table(
        ("operation", "case", "time", "of the copy roof", "of the nearest roof", "which"),
        [
            (
                row.operation,
                row.case,
                seconds(row.seconds),
                f"{row.copy_share:.0%} [{row.low:.0%}, {row.high:.0%}]",
                f"{row.roof_share:.0%}",
                row.limit,
            )
            for row in rows
        ],
    )
    path = (
        "Triton kernels" if rows[0].path == "triton" else "CPU paths of the operations, not their GPU kernels"
    )
    yield (
        f"These are the {path}. The bytes are those that a fully fused operation must move, whatever it really moves; "
        "more than 100 % means that the data stayed in a cache. Operation, copy and matrix product were timed in turns."
    )


def _road(card: Card) -> Iterable[str]:
    road = _measured(card.road)
    yield (
        f"{road.images_per_s:.3g} images/s at batch {road.batch}, {road.perturbed} perturbed images each: "
        f"{times(road.forwards)} a plain forward pass. Filling removed pixels takes {road.imputer_share:.1%} of it "
        f"[{road.low:.1%}, {road.high:.1%}]."
    )


def _agreement(card: Card) -> Iterable[str]:
    rows = _measured(card.agreement)
    yield _grid(rows, _distance)
    yield (
        "Largest difference of maps in [0, 1] from the same definition in float64, in brackets the RMS difference. "
        "A compiled model is explained by its original module, run eagerly."
    )
    yield from _reasons(rows)


def _distance(row: Agreement) -> str:
    return "-" if row.largest is None or row.rms is None else f"{row.largest:.1e} ({row.rms:.1e})"


def _memory(card: Card) -> Iterable[str]:
    rows = _measured(card.memory)
    batches = list(dict.fromkeys(str(row.batch) for row in rows))
    found = {(row.what, str(row.batch)): byte_count(row.peak_bytes) for row in rows}
    names = dict.fromkeys(row.what for row in rows)
    cells = [(name, *(found.get((name, batch), "-") for batch in batches), "") for name in names]
    yield table(("batch", *batches, ""), cells)
    yield from _reasons(rows)


def _energy(card: Card) -> Iterable[str]:
    rows = _measured(card.energy)
    measured = [
        (row.what, f"{row.joules_per_image:.3g} J", f"{row.watts:.3g} W", seconds(row.window_s))
        for row in rows
        if row.joules_per_image is not None and row.watts is not None
    ]
    if measured:
        yield table((f"batch {rows[0].batch}", "an image", "power", "window"), measured)
        yield "Of the whole device, its idle share included."
    yield from _reasons(rows)


def _largest(card: Card) -> Iterable[str]:
    rows = _measured(card.largest)
    cells = [(row.what, "-" if row.batch is None else f"{row.batch:,}", row.reason or "") for row in rows]
    yield table(("what", "batch", "stopped by"), cells)
    yield f"{rows[0].how[0].upper()}{rows[0].how[1:]}."


_SECTIONS = {
    "roofs": _roofs,
    "methods": _methods,
    "kernels": _kernels,
    "road": _road,
    "agreement": _agreement,
    "memory": _memory,
    "energy": _energy,
    "largest": _largest,
}


def _grid(rows: Sequence[Any], cell: Any) -> str:
    """Methods down, variants across."""
    variants = list(dict.fromkeys(row.variant for row in rows))
    found = {(row.method, row.variant): cell(row) for row in rows}
    names = dict.fromkeys(row.method for row in rows)
    return table(
        ("", *variants),
        [(name, *(found.get((name, variant), "-") for variant in variants)) for name in names],
    )


def _reasons(rows: Sequence[Any]) -> Iterable[str]:
    """Why something is missing, each reason once."""
    missing: dict[str, list[str]] = {}
    for row in rows:
        if row.reason:
            missing.setdefault(row.reason, []).append(_what(row))
    if missing:
        yield "\n".join(f"- {', '.join(dict.fromkeys(names))}: {why}" for why, names in missing.items())


def _what(row: Any) -> str:
    name: str = getattr(row, "method", None) or row.what
    return name


def _when(card: Card) -> str:
    """When each part was measured and in which revision; and which parts share their time with others."""
    said: list[str] = []
    busy: list[str] = []
    for name in PARTS:
        if name in card.taken:
            taken = card.taken[name]
            said.append(f"{name} {taken.started_utc} ({taken.seconds:.0f} s, revision {taken.revision})")
            others = taken.conditions.others_share
            busy += (
                [f"{name} {others:.0%}"]
                if others is not None and others > LOADED_SHARE and taken.seconds > COUNTED_S
                else []
            )
    text = f"Measured: {'; '.join(said)}."
    if busy:
        text += f" Other processes used much of the machine, so measure again: {', '.join(busy)}."
    return text
