"""A run as one HTML page: no script, no request, readable on a phone and in the dark."""

from __future__ import annotations

from base64 import b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import final

from markupsafe import Markup

from xaimed_reports.compare.sides import throttled
from xaimed_reports.compare.verdicts import MEANINGS
from xaimed_reports.format import byte_count, machine_line, program, seconds
from xaimed_reports.profile.card import Card
from xaimed_reports.profile.roofline import roofline
from xaimed_reports.rendering import render
from xaimed_reports.show import figures
from xaimed_reports.show.pictures import Picture
from xaimed_reports.show.summary import Line, cells, columns, lines, reasons, sentences, title
from xaimed_reports.store.records import Machine
from xaimed_reports.store.rows import Row, Run, Timed, timed
from xaimed_reports.tradeoff import tradeoff_words


@final
@dataclass(frozen=True)
class Strip:
    """The raw samples of one case as a drawing, and what they were taken under."""

    name: str
    drawing: Markup
    conditions: str


def page(run: Run, pictures: Mapping[str, Sequence[Picture]], card: Card | None = None) -> str:
    """The whole page. ``pictures``: by case key; leave them out to share the page. ``card``: of the same device."""
    found = lines(run)
    return render(
        "page.html",
        run=run,
        sentences=sentences(run),
        machine_line=machine_line(run),
        groups=[
            (title(run, bench), *_rows(list(group)))
            for bench, group in groupby(found, key=lambda line: line.bench)
        ],
        columns=columns(run),
        ratios=Markup(figures.ratios(found)),
        scatters=_scatters(found),
        tradeoff=tradeoff_words.tables(run),
        tradeoff_columns=tradeoff_words.COLUMNS,
        tradeoff_title=tradeoff_words.TITLE,
        tradeoff_said=[tradeoff_words.LEGEND, *tradeoff_words.answer(run)],
        roofline=_roofline(card),
        strips=_strips(found),
        pictures=[(line.name, pictures[line.key]) for line in found if pictures.get(line.key)],
        facts=_facts(run.machine),
        meanings=MEANINGS,
    )


def _rows(found: Sequence[Line]) -> tuple[list[tuple[Line, tuple[str, ...], str]], list[str]]:
    """Each line with its cells and its own reason, and the reasons that several lines share."""
    said = Counter(line.why for line in found)
    rows = [(line, cells(line), line.why if said[line.why] == 1 else "") for line in found]
    return rows, [reason for _, reason in reasons(line for line in found if said[line.why] > 1)]


def _roofline(card: Card | None) -> str | None:
    """The picture as a data address: an image of its own, which the page's colours leave alone."""
    drawn = roofline(card) if card is not None else None
    return None if drawn is None else f"data:image/svg+xml;base64,{b64encode(drawn.encode()).decode()}"


def _scatters(found: Sequence[Line]) -> list[tuple[str, Markup]]:
    limits = figures.allowed_differences(found)
    time = figures.scatter(
        figures.time_points(found), limits, x_name="plain forward passes", y_name="largest difference"
    )
    memory = figures.scatter(
        figures.memory_points(found),
        limits,
        x_name="memory above resident",
        y_name="largest difference",
        bytes_on_x=True,
    )
    drawn = [
        ("Time against fidelity: further left costs less, lower is closer to the reference.", time),
        ("Memory against fidelity: peak above what was resident.", memory),
    ]
    return [(caption, Markup(svg)) for caption, svg in drawn if svg]


def _strips(found: Sequence[Line]) -> list[Strip]:
    strips: list[Strip] = []
    for line in found:
        named = [(program(r), r.timing) for r in (line.ours, line.against) if isinstance(r, Timed)]
        if (ours := timed(line.ours)) is not None and ours.forward is not None:
            named.append(("plain forward", ours.forward))
        if named:
            clocks = _clocks(line.ours or line.against)
            strips.append(
                Strip(line.name, Markup(figures.strip(named, clocks)), _conditions(line.ours or line.against))
            )
    return strips


def _clocks(row: Row | None) -> list[tuple[str, tuple[float | None, ...]]]:
    if row is None or row.conditions is None:
        return []
    return [(name.replace("_", " "), values) for name, values in row.conditions.gpu_by_block.items()]


def _conditions(row: Row | None) -> str:
    if not isinstance(row, Timed):
        return ""
    said = [
        f"first call {seconds(row.timing.first_s)}",
        f"warm-up {seconds(row.timing.warm_up_s)}",
        row.timing.order,
        f"cache {row.timing.cache}",
    ]
    if row.carry_over is not None:
        said.append(f"carry-over {row.carry_over:.3f}")
    if row.conditions.others_share is not None:
        said.append(f"other processes {row.conditions.others_share:.0%}")
    if row.conditions.steal_s:
        said.append(f"{seconds(row.conditions.steal_s)} stolen by the hypervisor")
    if row.conditions.load_1m is not None:
        said.append(f"load {row.conditions.load_1m:.1f}")
    if throttled(row):
        said.append(f"throttled by {throttled(row)}")
    if row.conditions.involuntary_switches is not None:
        said.append(f"{row.conditions.involuntary_switches} involuntary switches")
    return "; ".join([*said, *row.notes])


def _facts(machine: Machine) -> list[tuple[str, str]]:
    facts = [
        ("system", machine.system),
        ("CPU", f"{machine.cpu}, {machine.cores} cores usable, {machine.threads} threads used"),
        ("memory", byte_count(machine.memory_bytes)),
    ]
    if machine.gpu is not None:
        gpu = machine.gpu
        facts.append(("GPU", f"{gpu.name}, capability {gpu.capability}, {byte_count(gpu.memory_bytes)}"))
        known = {"driver": gpu.driver, "power limit (W)": gpu.power_limit_w, "ECC": gpu.ecc, "MIG": gpu.mig}
        facts += [(name, str(value)) for name, value in known.items() if value is not None]
        facts += [(f"no {name}", why) for name, why in gpu.reasons.items()]
    facts += [(name, value) for name, value in machine.versions.items()]
    return facts + [(name.replace("_", " "), value) for name, value in machine.flags.items()]
