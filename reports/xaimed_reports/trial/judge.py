"""What a trial of the gate found: false alarms of equal code, slow-downs found, and what load does to verdicts."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from xaimed_reports.compare.compare import Comparison, compare
from xaimed_reports.compare.disturbance import disturbance
from xaimed_reports.compare.floor import Floor, floor_of, smallest_visible_effect
from xaimed_reports.compare.pace import forward_of, values_at
from xaimed_reports.compare.sides import Side
from xaimed_reports.store.rows import Run
from xaimed_reports.trial.records import CALLED, FLOOR_RUNS, SIDE, MadeRun, Planned, Tally, Trial

DESIGNS = (("two stored runs", 1), (f"sides of {SIDE} processes", SIDE))
"""What is compared, and how many runs make a side."""


def judge_trial(runs: Mapping[Planned, Run]) -> Trial:
    """Fix the noise on the first `FLOOR_RUNS` runs alike, and judge all others by it."""
    alike, loaded = ([run for p, run in runs.items() if p.kind == kind] for kind in ("alike", "loaded"))
    floor, judged = floor_of(alike[:FLOOR_RUNS]), alike[FLOOR_RUNS:]
    made = tuple(_made(p, run, floor) for p, run in runs.items())
    return Trial(
        machine=alike[0].machine,
        revision=alike[0].revision,
        noise={key: _noise(key, floor) for key in floor.spread},
        alike=tuple(_alike(judged, floor)),
        loaded=(
            _pairs("two stored runs, the new one loaded", judged, loaded, floor),
            _pairs("two stored runs, the base loaded", loaded, judged, floor),
        ),
        power=tuple(_power({p: run for p, run in runs.items() if p.kind == "slowed"}, judged, floor)),
        really_slower=_really_slower(made),
        runs=made,
    )


def _made(p: Planned, run: Run, floor: Floor) -> MadeRun:
    rows = {key: row for key, (row, *_) in Side((run,)).rows.items()}
    values = {key: median(found) for key, row in rows.items() if (found := values_at(row, None))}
    forward_s = {key: found for key, row in rows.items() if (found := forward_of(row)) is not None}
    disturbed = tuple(key for key in rows if not _quiet([run], key, floor))
    return MadeRun(
        p.name, run.started_utc, run.seconds, values, p.extra_work([*values]), disturbed, forward_s
    )


def _quiet(runs: Iterable[Run], key: str, floor: Floor) -> list[Run]:
    """The runs that have this row and in which nothing disturbed it."""
    rows = [(run, Side((run,)).rows.get(key, ())) for run in runs]
    return [run for run, found in rows if found and disturbance(found[0], floor.pace.get(key)) is None]


def _noise(key: str, floor: Floor) -> dict[str, float]:
    return {
        "two runs": floor.differ(key),
        "sides": floor.differ(key, processes=SIDE),
        "visible to two runs": smallest_visible_effect(floor, key, processes=1),
        "visible to sides": smallest_visible_effect(floor, key, processes=SIDE),
        "follows the pace": floor.pace[key].follows if key in floor.pace else 1.0,
    }


def _alike(judged: Sequence[Run], floor: Floor) -> Iterator[Tally]:
    """Two runs, and sides in the order A B B A; no run stands in two comparisons of a kind."""
    yield _pairs(DESIGNS[0][0], judged[::2], judged[1::2], floor)
    found: list[Comparison] = []
    for i in range(0, len(judged) - 2 * SIDE + 1, 2 * SIDE):
        sides = [[judged[i + j] for j in range(2 * SIDE) if (j % 4 in (0, 3)) == a] for a in (True, False)]
        found.append(compare(*sides, floor=floor))
    yield _tally(DESIGNS[1][0], found)


def _pairs(what: str, base: Sequence[Run], new: Sequence[Run], floor: Floor) -> Tally:
    return _tally(what, [compare([a], [b], floor=floor) for a, b in zip(base, new, strict=False)])


def _tally(
    what: str, found: Sequence[Comparison], extra_work: float = 0.0, rows_of: Sequence[str] = ()
) -> Tally:
    """``rows_of``: for each comparison the one row to count; empty: all."""
    rows = dict.fromkeys(CALLED, 0)
    alarms = 0
    for i, each in enumerate(found):
        times = [j for j in each.judgements if j.what == "time"]
        for j in times:
            if not rows_of or j.key == rows_of[i]:
                rows["not judged" if j.key in each.doubted else j.verdict] += 1
        alarms += each.exit_code == 1 or any(j.verdict in ("slower", "faster") for j in times)
    return Tally(what, extra_work, alarms, rows, dict(Counter(str(each.exit_code) for each in found)))


def _power(slowed: Mapping[Planned, Run], judged: Sequence[Run], floor: Floor) -> Iterator[Tally]:
    """One slowed row among rows that are not. Every slowed run counts once in each design."""
    keys = sorted(floor.spread)
    given = {p: p.extra_work(keys) for p in slowed}
    for level in sorted({share for shares in given.values() for share in shares.values()}):
        for what, size in DESIGNS:
            found: list[tuple[str, Comparison]] = []
            for key in keys:
                made = _quiet((run for p, run in slowed.items() if given[p][key] == level), key, floor)
                alike = _quiet(judged, key, floor)
                found += [(key, each) for each in _beside(made, alike, key, floor, size)]
            if found:
                yield _tally(what, [each for _, each in found], level, [key for key, _ in found])


def _beside(
    slowed: Sequence[Run], alike: Sequence[Run], key: str, floor: Floor, size: int
) -> Iterator[Comparison]:
    """Sides of ``size`` runs alike, of which the new one has this row from the slowed runs."""
    for i in range(len(slowed) // size if len(alike) >= 2 * size else 0):
        runs = [alike[(i + j) % len(alike)] for j in range(2 * size)]
        new = [_with_row(run, slowed[i * size + j], key) for j, run in enumerate(runs[1::2])]
        yield compare(runs[::2], new, floor=floor)


def _with_row(run: Run, other: Run, key: str) -> Run:
    """``run`` with the rows of one case from another run."""
    kept = [row for row in run.rows if row.case.key != key]
    return dataclasses.replace(run, rows=(*kept, *(row for row in other.rows if row.case.key == key)))


def _really_slower(made: Sequence[MadeRun]) -> dict[str, float]:
    ratios: dict[str, list[float]] = {}
    for run in made:
        for key in run.extra_work.keys() - run.disturbed:
            alike = [m.values[key] for m in made if m.name.startswith("alike") and key not in m.disturbed]
            if alike:
                ratios.setdefault(f"{run.extra_work[key]:.2f}", []).append(
                    run.values[key] / median(alike) - 1
                )
    return {level: median(found) for level, found in sorted(ratios.items())}
