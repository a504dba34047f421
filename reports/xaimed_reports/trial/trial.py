"""What a trial of the gate found: false alarms of equal code, slow-downs found, and what load does to verdicts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

import numpy as np

from xaimed_reports.compare.compare import Comparison, compare
from xaimed_reports.compare.disturbance import disturbance
from xaimed_reports.compare.floor import Floor, floor_of, smallest_visible_effect
from xaimed_reports.compare.pace import forward_of, values_at
from xaimed_reports.compare.sides import Side
from xaimed_reports.compare.statistics import SEED, clopper_pearson
from xaimed_reports.store.records import OURS, Run
from xaimed_reports.trial.trial_plan import FLOOR_RUNS, Planned
from xaimed_reports.trial.trial_records import SIDE, Count, MadeRun, Overhead, Power, Trial, Verdicts

DRAWS = 100
Runs = Mapping[Planned, Run]


def is_disturbed(run: Run, floor: Floor | None = None) -> bool:
    """Whether something disturbed most rows of ours; ``floor``: what the machine is like without."""
    rows = [row for row in run.rows if row.impl == OURS]
    return 2 * len(_disturbed_keys(run, floor)) > len(rows)


def _disturbed_keys(run: Run, floor: Floor | None) -> tuple[str, ...]:
    pace = floor.pace if floor is not None else {}
    ours = [row for row in run.rows if row.impl == OURS]
    return tuple(row.case.key for row in ours if disturbance(row, pace.get(row.case.key)) is not None)


def _quiet(runs: Iterable[Run], key: str, floor: Floor) -> list[Run]:
    """The runs in which nothing disturbed this row."""
    return [run for run in runs if key not in _disturbed_keys(run, floor)]


def judge_trial(runs: Runs, overhead: Sequence[Overhead], disturbed: int) -> Trial:
    """Fix the noise on the first `FLOOR_RUNS` runs alike, and judge all others by it."""
    alike, slowed, loaded = ([p for p in runs if p.kind == kind] for kind in ("alike", "slowed", "loaded"))
    first = [runs[p] for p in alike[:FLOOR_RUNS]]
    judged = [runs[p] for p in alike[FLOOR_RUNS:]]
    busy = [runs[p] for p in loaded]
    floor = floor_of(first)
    return Trial(
        machine=first[0].machine,
        revision=first[0].revision,
        disturbed=disturbed,
        noise={
            key: {
                "two runs": floor.differ(key),
                "sides": floor.differ(key, processes=SIDE),
                "visible to two runs": smallest_visible_effect(floor, key, processes=1),
                "visible to sides": smallest_visible_effect(floor, key, processes=SIDE),
                "follows the pace": floor.pace[key].follows if key in floor.pace else 1.0,
            }
            for key in floor.spread
        },
        alike=tuple(_alike(judged, floor)),
        loaded=tuple(_loaded(judged, busy, floor)),
        power=tuple(_power({p: runs[p] for p in slowed}, judged, floor)),
        really_slower=_really_slower({p: runs[p] for p in slowed}, first + judged, floor),
        overhead=tuple(overhead),
        runs=tuple(_made(p, run, floor) for p, run in runs.items()),
    )


def _alike(judged: Sequence[Run], floor: Floor) -> Iterator[Verdicts]:
    """All disjoint pairs, the disjoint sides that there are, and sides drawn at random from the same runs."""
    pairs = [((a,), (b,)) for a, b in zip(judged[::2], judged[1::2], strict=False)]
    if pairs:
        yield _verdicts("two stored runs, disjoint pairs", _compared(pairs, floor))
    disjoint = [
        _alternating(judged[i : i + 2 * SIDE]) for i in range(0, len(judged) - 2 * SIDE + 1, 2 * SIDE)
    ]
    if disjoint:
        yield _verdicts(f"sides of {SIDE} processes, disjoint", _compared(disjoint, floor))
        random = np.random.default_rng(SEED)
        drawn = [
            _halves([judged[i] for i in random.permutation(len(judged))[: 2 * SIDE]]) for _ in range(DRAWS)
        ]
        said = f"sides of {SIDE} processes, drawn at random from the same runs (not independent)"
        yield _verdicts(said, _compared(drawn, floor), independent=False)


def _loaded(judged: Sequence[Run], busy: Sequence[Run], floor: Floor) -> Iterator[Verdicts]:
    """Loaded runs against quiet ones and against each other."""
    if not busy:
        return
    pairs = [((a,), (b,)) for a, b in zip(judged, busy, strict=False)]
    yield _verdicts("two stored runs, the new one loaded", _compared(pairs, floor))
    yield _verdicts("two stored runs, the base loaded", _compared([(b, a) for a, b in pairs], floor))
    both = [((a,), (b,)) for a, b in zip(busy[::2], busy[1::2], strict=False)]
    yield _verdicts("two stored runs, both loaded", _compared(both, floor))
    if len(busy) >= SIDE and len(judged) >= SIDE:
        sides = [(tuple(judged[:SIDE]), tuple(busy[:SIDE]))]
        yield _verdicts(f"sides of {SIDE} processes, the new side loaded", _compared(sides, floor))


def _power(slowed: Runs, judged: Sequence[Run], floor: Floor) -> Iterator[Power]:
    """One slowed row among rows that are not, in two stored runs and in sides of processes."""
    keys = sorted(floor.spread)
    for level in sorted({share for p in slowed for share in p.extra_work(keys).values()}):
        singles: dict[str, Count] = {}
        sides: dict[str, Count] = {}
        for key in keys:
            made = _quiet((run for p, run in slowed.items() if p.extra_work(keys)[key] == level), key, floor)
            quiet = _quiet(judged, key, floor)
            pairs = [
                ((quiet[i % len(quiet)],), (_with_row(quiet[(i + 1) % len(quiet)], run, key),))
                for i, run in enumerate(made)
                if quiet
            ]
            singles[key] = _found(pairs, key, floor)
            groups = [made[i : i + SIDE] for i in range(0, len(made) - SIDE + 1, SIDE)]
            if len(quiet) >= 2 * SIDE:
                sides[key] = _found(
                    [_beside(quiet, group, key, i) for i, group in enumerate(groups)], key, floor
                )
        for what, rows in (("two stored runs", singles), (f"sides of {SIDE} processes", sides)):
            if any(count.of for count in rows.values()):
                total = _count(sum(c.hits for c in rows.values()), sum(c.of for c in rows.values()))
                yield Power(level, what, total, rows)


def _beside(judged: Sequence[Run], slowed: Sequence[Run], key: str, seed: int) -> tuple[tuple[Run, ...], ...]:
    """Sides of runs alike, drawn anew for each row, of which the new one has this row from the slowed runs."""
    random = np.random.default_rng([SEED, seed, *key.encode()])
    base, new = _halves([judged[i] for i in random.permutation(len(judged))[: 2 * SIDE]])
    return base, tuple(_with_row(run, other, key) for run, other in zip(new, slowed, strict=True))


def _found(pairs: Sequence[tuple[tuple[Run, ...], ...]], key: str, floor: Floor) -> Count:
    found = _compared(pairs, floor)
    return _count(sum((key, "slower") in _times(c) for c in found), len(found))


def _with_row(run: Run, other: Run, key: str) -> Run:
    """``run`` with the rows of one case from another run."""
    kept = [row for row in run.rows if row.case.key != key]
    return dataclasses.replace(run, rows=(*kept, *(row for row in other.rows if row.case.key == key)))


def _alternating(runs: Sequence[Run]) -> tuple[tuple[Run, ...], ...]:
    """Two sides in the order A B B A."""
    return tuple(
        tuple(run for i, run in enumerate(runs) if (i % 4 in (0, 3)) == first) for first in (True, False)
    )


def _halves(runs: Sequence[Run]) -> tuple[tuple[Run, ...], ...]:
    half = len(runs) // 2
    return tuple(runs[:half]), tuple(runs[half:])


def _compared(pairs: Iterable[tuple[tuple[Run, ...], ...]], floor: Floor) -> list[Comparison]:
    return [compare(base, new, floor=floor) for base, new in pairs]


def _times(found: Comparison) -> set[tuple[str, str]]:
    return {(j.key, j.verdict) for j in found.judgements if j.what == "time"}


def _verdicts(what: str, found: Sequence[Comparison], *, independent: bool = True) -> Verdicts:
    rows = [(key in c.doubted, verdict) for c in found for key, verdict in _times(c)]
    judged = [verdict for doubted, verdict in rows if not doubted]
    moved = [any(v in ("slower", "faster") for _, v in _times(c)) or c.exit_code == 1 for c in found]
    codes = [str(c.exit_code) for c in found]
    false = judged.count("slower") + judged.count("faster")
    return Verdicts(
        what,
        len(found),
        alarms=_count(sum(moved), len(found), independent=independent),
        slower_or_faster=_count(false, len(judged), independent=False),
        unknown=_count(judged.count("unknown"), len(judged), independent=False),
        not_judged=_count(len(rows) - len(judged), len(rows), independent=False),
        exit_codes={code: codes.count(code) for code in sorted(set(codes))},
    )


def _count(hits: int, of: int, *, independent: bool = True) -> Count:
    return Count(hits, of, *clopper_pearson(hits, of)) if independent and of else Count(hits, of)


def _centres(run: Run, floor: Floor | None = None) -> dict[str, float]:
    """Each row's median in plain forward passes; with a floor, at its pace."""
    pace = floor.pace if floor is not None else {}
    found = {key: values_at(rows[0], pace.get(key)) for key, rows in Side((run,)).rows.items()}
    return {key: median(values) for key, values in found.items() if values}


def _really_slower(slowed: Runs, alike: Sequence[Run], floor: Floor) -> dict[str, float]:
    ratios: dict[str, list[float]] = {}
    for p, run in slowed.items():
        values = _centres(run, floor)
        for key, share in p.extra_work(list(values)).items():
            usual = [_centres(other, floor)[key] for other in _quiet(alike, key, floor)]
            if key not in _disturbed_keys(run, floor) and usual:
                ratios.setdefault(f"{share:.2f}", []).append(values[key] / median(usual) - 1)
    return {level: median(found) for level, found in sorted(ratios.items())}


def _made(p: Planned, run: Run, floor: Floor) -> MadeRun:
    values = _centres(run)
    return MadeRun(
        name=p.name,
        started_utc=run.started_utc,
        seconds=run.seconds,
        values=values,
        extra_work=p.extra_work(list(values)),
        disturbed=_disturbed_keys(run, floor),
        forward_s={
            key: found
            for key, rows in Side((run,)).rows.items()
            if (found := forward_of(rows[0])) is not None
        },
    )
