"""What each map costs and what it is worth: read from a run's records, compared, and one of them recommended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, median, stdev
from typing import Literal, final

from xaimed_reports.compare.ratio import Ratio, interval_of_median, ratio
from xaimed_reports.store.records import OURS, REFERENCE, Part, Quality, Timing
from xaimed_reports.store.rows import Row, Run, Timed, timed

EXACT = "ablationcam"
CHEAP = "xgradcam"
SAME_MAP = 1e-4
"""Maps in [0, 1] that differ by no more than this are one map, computed twice."""
CLEAR = 3.0
"""Standard errors from which on a difference counts: several measures on a dozen images would show two by chance."""
NEARLY = 1.0
"""The one-standard-error rule (Breiman et al. 1984): what lies this close to the best is as good."""
EQUAL_COST = 1.1
"""Maps within this factor of the cheapest cost the same."""

Measure = Literal["deletion", "insertion", "in_lesion"]
MEASURES: dict[Measure, tuple[str, int]] = {
    "deletion": ("deletion", -1),
    "insertion": ("insertion", +1),
    "in_lesion": ("share of the map inside the lesion", +1),
}
"""Each measure in words, and the sign that makes larger better."""


@final
@dataclass(frozen=True)
class Extrapolated:
    """The time of a whole of which two parts were timed. Nothing here but ``timed`` was measured."""

    step: str
    whole: int
    timed: tuple[tuple[int, float], ...]
    """Steps and median seconds of each part."""
    step_s: float
    """Median over the blocks: the difference of the two parts' times over the difference of their steps."""
    fixed_s: float
    """What the smaller part took beside its steps; at least 0."""
    speedup: Ratio
    """The whole over xaimed's time, block by block."""

    @property
    def whole_s(self) -> float:
        """What is paid once, and every step."""
        return self.fixed_s + self.whole * self.step_s


@final
@dataclass(frozen=True)
class Entry:
    """One method at one layer of one network: xaimed's row and what is known of grad-cam's."""

    method: str
    ours: Timed
    forward: Timing
    """The plain forward pass of the same blocks."""
    theirs: Timed | None
    """grad-cam's, whole or, where ``extrapolated``, its largest part: peaks of memory are those of one step."""
    extrapolated: Extrapolated | None
    cheap: Ratio | None
    """xaimed's time over that of its `CHEAP` in the same blocks, where both ran in them."""

    @property
    def forwards(self) -> float:
        """xaimed's time in plain forwards of the same blocks."""
        return ratio(self.ours.timing, self.forward).value

    @property
    def first_forwards(self) -> float:
        """xaimed's first call, with whatever it recorded and checked."""
        return self.ours.timing.first_s / self.forward.typical_s

    @property
    def their_forwards(self) -> float | None:
        """grad-cam's, measured or extrapolated."""
        if self.extrapolated is not None:
            return self.extrapolated.speedup.value * self.forwards
        if self.theirs is None or self.theirs.forward is None:
            return None
        return ratio(self.theirs.timing, self.theirs.forward).value

    @property
    def reached(self) -> float | None:
        """The share of the ceiling: a forward for each channel over xaimed's time, over what it could be."""
        ceiling = self.ours.ceiling
        return ceiling.channels / self.forwards / ceiling.times if ceiling is not None else None

    def quality(self, images: str) -> Quality | None:
        """What the maps are worth on these images."""
        return next((q for q in self.ours.qualities if q.images == images), None)


@final
@dataclass(frozen=True)
class Place:
    """The methods at one layer of one network, in the order measured."""

    model: str
    layer: str
    images: int
    entries: tuple[Entry, ...]

    def entry(self, method: str) -> Entry | None:
        """The method's entry, if it was measured here."""
        return next((e for e in self.entries if e.method == method), None)


@final
@dataclass(frozen=True)
class Gain:
    """By how much one map is better than another by one measure on one kind of images: paired, mean over images."""

    measure: Measure
    images: str
    mean: float
    """Above 0: better, whichever way the measure points."""
    error: float
    """Standard error of ``mean``."""

    @property
    def verdict(self) -> Literal["better", "worse", "alike"]:
        """Whether the difference is `CLEAR`."""
        if abs(self.mean) <= CLEAR * self.error or self.mean == 0:
            return "alike"
        return "better" if self.mean > 0 else "worse"


@final
@dataclass(frozen=True)
class Advice:
    """What to use, and what it was weighed against: ``best`` has the highest score, ``chosen`` is nearly as good."""

    chosen: tuple[Place, Entry]
    best: tuple[Place, Entry]
    images: str
    loss: float
    """Mean score of the best less that of the chosen."""
    error: float


def places(run: Run) -> tuple[Place, ...]:
    """Every layer at which AblationCAM was extrapolated or maps were judged; none where a run asked something else."""
    cases: dict[str, dict[str, Row]] = {}
    for row in run.rows:
        cases.setdefault(row.case.key, {})[row.impl] = row
    found: dict[tuple[str, ...], list[tuple[Timed, Entry]]] = {}
    for rows in cases.values():
        ours = timed(rows.get(OURS))
        if ours is None or ours.forward is None:
            continue
        axes = ours.case.axes
        if not {"method", "model", "layer"} <= axes.keys():
            continue
        where = tuple(value for axis, value in axes.items() if axis != "method")
        found.setdefault(where, []).append((ours, _entry(axes["method"], ours, ours.forward, rows)))
    return tuple(
        Place(
            pairs[0][0].case.axes["model"],
            pairs[0][0].case.axes["layer"],
            pairs[0][0].case.images,
            tuple(entry for _, entry in pairs),
        )
        for pairs in found.values()
        if any(entry.extrapolated is not None or ours.qualities for ours, entry in pairs)
    )


def by_network(run: Run) -> dict[str, list[Place]]:
    """`places` by network, in the order measured."""
    found: dict[str, list[Place]] = {}
    for place in places(run):
        found.setdefault(place.model, []).append(place)
    return found


def _entry(method: str, ours: Timed, forward: Timing, rows: dict[str, Row]) -> Entry:
    parts = {row.part.timed: (row.part, row) for row in rows.values() if isinstance(row, Timed) and row.part}
    largest = parts[max(parts)][1] if parts else None
    cheap = timed(rows.get(CHEAP))
    whole = rows.get(REFERENCE)
    return Entry(
        method=method,
        ours=ours,
        forward=forward,
        theirs=timed(whole) if whole is not None else largest,
        extrapolated=extrapolate([(part, row.timing) for part, row in parts.values()], ours.timing)
        if len(parts) > 1
        else None,
        cheap=ratio(ours.timing, cheap.timing) if cheap is not None else None,
    )


def extrapolate(parts: Sequence[tuple[Part, Timing]], ours: Timing) -> Extrapolated:
    """The whole from its smallest and largest part, both timed in the blocks of ``ours``."""
    ordered = sorted(parts, key=lambda each: each[0].timed)
    (small, small_time), (large, large_time) = ordered[0], ordered[-1]
    a, b, mine = small_time.block_medians, large_time.block_medians, ours.block_medians
    blocks = sorted(a.keys() & b.keys() & mine.keys())
    gap, whole = large.timed - small.timed, large.whole
    steps = [(b[k] - a[k]) / gap for k in blocks]
    step_s = median(steps)
    fixed_s = max(0.0, median(a[k] for k in blocks) - small.timed * step_s)
    quotients = [(fixed_s + whole * step) / mine[k] for step, k in zip(steps, blocks, strict=True)]
    return Extrapolated(
        step=large.step,
        whole=whole,
        timed=((small.timed, small_time.typical_s), (large.timed, large_time.typical_s)),
        step_s=step_s,
        fixed_s=fixed_s,
        speedup=Ratio(median(quotients), *interval_of_median(quotients)),
    )


def gains(better: Entry, than: Entry) -> tuple[Gain, ...]:
    """``better`` beside ``than`` by every measure on every kind of images, image by image.

    The share inside the lesions counts where one of the two maps finds them at all.
    """
    found: list[Gain] = []
    for mine in better.ours.qualities:
        other = than.quality(mine.images)
        if other is None:
            continue
        for measure, (_, sign) in MEASURES.items():
            pairs = list(zip(_values(mine, measure), _values(other, measure), strict=True))
            if pairs and not (measure == "in_lesion" and _blind(mine, other)):
                found.append(Gain(measure, mine.images, *_paired([sign * (a - b) for a, b in pairs])))
    return tuple(found)


def _blind(*maps: Quality) -> bool:
    """Whether no map has more inside the lesions than one that knows nothing: then neither is the better one."""
    return all(mean(q.in_lesion) <= mean(q.lesion_area) for q in maps)


def _values(quality: Quality, measure: Measure) -> tuple[float, ...]:
    match measure:
        case "deletion":
            return quality.deletion
        case "insertion":
            return quality.insertion
        case "in_lesion":
            return quality.in_lesion


def _paired(differences: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error; with one image nothing is known of the error, which then is the mean's size."""
    if len(differences) < 2:
        return differences[0], abs(differences[0])
    return mean(differences), stdev(differences) / sqrt(len(differences))


def scores(quality: Quality) -> tuple[float, ...]:
    """Insertion less deletion of each image: large is good."""
    return tuple(i - d for i, d in zip(quality.insertion, quality.deletion, strict=True))


def same_map(entry: Entry) -> bool:
    """Whether the method's maps are exact AblationCAM's, on all images judged; no where none were."""
    judged = entry.ours.qualities
    return bool(judged) and all(q.agreement.largest <= SAME_MAP for q in judged)


def advise(found: Sequence[Place]) -> Advice | None:
    """One network's recommendation, on the first kind of images judged; None where none were.

    Of all its maps the one with the highest mean score, insertion less deletion, is the best; those that lose no
    more than `NEARLY` standard errors of the paired difference to it are as good; of these the cheapest is chosen, the
    highest score among those that cost the same.
    """
    judged = [(place, entry) for place in found for entry in place.entries if entry.ours.qualities]
    if not judged:
        return None
    images = judged[0][1].ours.qualities[0].images
    of = {id(e): scores(q) for _, e in judged if (q := e.quality(images)) is not None}
    judged = [(place, entry) for place, entry in judged if id(entry) in of]
    best = max(judged, key=lambda pair: mean(of[id(pair[1])]))

    def lost(entry: Entry) -> tuple[float, float]:
        return _paired([a - b for a, b in zip(of[id(best[1])], of[id(entry)], strict=True)])

    good = [pair for pair in judged if (loss := lost(pair[1]))[0] <= NEARLY * loss[1]]
    cheapest_s = min(entry.forwards for _, entry in good)
    cheap = [pair for pair in good if pair[1].forwards <= EQUAL_COST * cheapest_s]
    chosen = max(cheap, key=lambda pair: mean(of[id(pair[1])]))
    return Advice(chosen, best, images, *lost(chosen[1]))
