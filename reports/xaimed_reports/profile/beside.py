"""Two profile cards side by side: what each device reaches, the ratios, and what differs in software."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import final

from xaimed_reports.format import byte_count, number, seconds
from xaimed_reports.profile.card import Card
from xaimed_reports.rendering import table
from xaimed_reports.store.devices import device_name
from xaimed_reports.store.jsonform import UnusableError


@final
@dataclass(frozen=True)
class Figure:
    """One figure of a card: its value, and the value in words with its unit."""

    value: float
    words: str


def beside(a: Card, b: Card) -> str:
    """Markdown: the figures that both cards hold, second over first, and what a reader must know of the difference.

    Raises UnusableError where no figure is in both.
    """
    left, right = figures(a), figures(b)
    both = [name for name in left if name in right]
    if not both:
        raise UnusableError("the two cards share no figure: measure the same parts on both (xaimed profile)")
    names = device_name(a.machine), device_name(b.machine)
    if names[0] == names[1]:
        names = f"{names[0]}, first", f"{names[1]}, second"
    rows = [
        (name, left[name].words, right[name].words, f"{right[name].value / left[name].value:.2f}")
        for name in both
    ]
    alone = sorted({*left, *right} - {*both})
    said = [*_software(a, b), *([f"In one card only: {', '.join(alone)}."] if alone else [])]
    return "\n\n".join((table(rows, ("", *names, "second / first"), last="--:"), *said))


def figures(card: Card) -> dict[str, Figure]:
    """The figures of a card that another device's may be set beside, by name."""
    found: dict[str, Figure] = {}
    if card.roofs is not None:
        rate = card.roofs.copy_bytes_per_s
        found["copy"] = Figure(rate, f"{rate / 1e9:.3g} GB/s")
        for name, flops in card.roofs.matrix_flops_per_s.items():
            found[f"matrix product, {name}"] = Figure(flops, f"{flops / 1e12:.3g} TFLOP/s")
        found["one small operation"] = Figure(card.roofs.round_trip_s, seconds(card.roofs.round_trip_s))
    for row in card.methods or ():
        if row.images_per_s is not None:
            name = f"{row.method}, {row.variant}, batch {row.batch}"
            found[name] = Figure(row.images_per_s, f"{number(row.images_per_s)} images/s")
    for row in card.kernels or ():
        found[f"{row.operation} {row.case}"] = Figure(row.seconds, seconds(row.seconds))
    for row in card.predicted.rows if card.predicted else ():
        found[f"{row.operation} {row.case}, predicted"] = Figure(row.likely_s, seconds(row.likely_s))
    if card.road is not None:
        found[f"ROAD, batch {card.road.batch}"] = Figure(
            card.road.images_per_s, f"{number(card.road.images_per_s)} images/s"
        )
    for row in card.memory or ():
        if row.peak_bytes:
            found[f"memory of {row.what}, batch {row.batch}"] = Figure(
                row.peak_bytes, byte_count(row.peak_bytes)
            )
    for row in card.energy or ():
        if row.joules_per_image is not None:
            found[f"energy of {row.what}, batch {row.batch}"] = Figure(
                row.joules_per_image, f"{row.joules_per_image:.3g} J"
            )
    return found


def _software(a: Card, b: Card) -> Iterable[str]:
    if a.subject != b.subject:
        yield f"Explained: {a.subject} on the first, {b.subject} on the second."
    differ = [
        f"{name} {a.machine.versions.get(name, 'absent')} and {b.machine.versions.get(name, 'absent')}"
        for name in sorted({*a.machine.versions, *b.machine.versions})
        if a.machine.versions.get(name) != b.machine.versions.get(name)
    ]
    yield f"Software differs: {', '.join(differ)}." if differ else "The software is the same."
    paths = [{row.path for row in card.kernels or ()} for card in (a, b)]
    if all(paths) and paths[0] != paths[1]:
        yield "One card shows Triton kernels, the other the CPU paths of the operations."
