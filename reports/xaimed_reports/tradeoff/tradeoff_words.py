"""The tradeoff in words and tables: what AblationCAM costs, what that buys, and what to use instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

from xaimed_reports.format import byte_count, number, times
from xaimed_reports.rendering import paragraphs
from xaimed_reports.store.records import Quality
from xaimed_reports.store.rows import Run
from xaimed_reports.tradeoff.tradeoff import (
    CHEAP,
    CLEAR,
    EQUAL_COST,
    EXACT,
    MEASURES,
    NEARLY,
    Advice,
    Entry,
    Gain,
    Place,
    advise,
    by_network,
    gains,
    places,
    same_map,
    scores,
)

TITLE = "What AblationCAM costs, and what it buys"
COLUMNS = (
    "map",
    "xaimed, forwards",
    "grad-cam, forwards",
    "memory",
    "rho",
    "top 20 %",
    "deletion",
    "insertion",
    "in lesion",
)
LEGEND = (
    "forwards: time in plain forwards of the same network and batch, * extrapolated from timed parts. memory: peak "
    "above what was resident, xaimed / grad-cam. rho and top 20 %: agreement with exact AblationCAM at that layer. "
    "deletion (small is good) and insertion (large is good): mean probability over the pixels removed or put back. "
    "in lesion: share of the map's mass, where one is known. Several kinds of images are separated by a slash."
)


def tables(run: Run) -> list[tuple[str, list[tuple[str, ...]]]]:
    """A title and rows of `COLUMNS` for each layer, by network; what was not judged is a dash."""
    return [(title(place), [row(entry) for entry in place.entries]) for place in places(run)]


def title(place: Place) -> str:
    """The network, the layer and the batch."""
    return f"{place.model}, {place.layer} layer, {images(place.images)}"


def images(count: int) -> str:
    """ "1 image" or "4 images"."""
    return f"{count} image" + ("s" if count > 1 else "")


def row(entry: Entry) -> tuple[str, ...]:
    """One map's cells; several kinds of images are separated by a slash, in the order judged."""
    qualities = entry.ours.qualities
    memory = [byte_count(r.memory.peak_bytes) for r in (entry.ours, entry.theirs) if r is not None]
    theirs = times(entry.their_forwards) + ("*" if entry.extrapolated is not None else "")
    return (
        entry.method,
        times(entry.forwards),
        theirs,
        " / ".join(memory) or "-",
        _each(qualities, lambda q: q.agreement.spearman),
        _each(qualities, lambda q: q.agreement.top_20),
        _each(qualities, lambda q: mean(q.deletion)),
        _each(qualities, lambda q: mean(q.insertion)),
        " / ".join(f"{mean(q.in_lesion):.1%}" for q in qualities if q.in_lesion) or "-",
    )


def _each(qualities: Sequence[Quality], value: Callable[[Quality], float | None]) -> str:
    found = [value(q) for q in qualities]
    return " / ".join("-" if v is None else f"{v:.2f}" for v in found) or "-"


def answer(run: Run) -> list[str]:
    """The answer in paragraphs: layer by layer, a recommendation for each network, and what was judged."""
    found = places(run)
    if not found:
        return []
    judged = [(p, e, q) for p in found for e in p.entries for q in e.ours.qualities]
    lesions = [(mean(q.in_lesion), e, p) for p, e, q in judged if q.in_lesion]
    return paragraphs(
        "tradeoff.txt",
        places=found,
        title=title,
        measures=MEASURES,
        gains=gains,
        same_map=same_map,
        one_map=_one_map,
        most_certain=lambda gains: max(gains, key=lambda gain: abs(gain.mean) / max(gain.error, 1e-12)),
        nearly=NEARLY,
        equal_cost=EQUAL_COST,
        clear=CLEAR,
        recommendations=recommendations(run),
        kinds=dict.fromkeys(f"{len(q.deletion)} {q.images}" for _, _, q in judged),
        networks=dict.fromkeys(q.network for _, _, q in judged),
        lesions=max(lesions, key=lambda known: known[0], default=None),
        lesion_area=mean([area for _, _, q in judged for area in q.lesion_area] or [0.0]),
    )


def _one_map(exact: Entry, cheap: Entry) -> bool:
    """Whether only pooling and a linear layer follow, so that both maps come from the same single forward."""
    one, other = cheap.ours.ran, exact.ours.ran
    return one is not None and bool(one.same_as) and other is not None and other.kind == "closed-form"


def recommendations(run: Run) -> list[str]:
    """One for each network."""
    return [_recommendation(given) for group in by_network(run).values() if (given := advise(group))]


def _recommendation(advice: Advice) -> str:
    (place, entry), (best_place, best) = advice.chosen, advice.best
    quality, best_quality = entry.quality(advice.images), best.quality(advice.images)
    assert quality is not None
    assert best_quality is not None
    (said,) = paragraphs(
        "recommendation.txt",
        place=place,
        entry=entry,
        rho=quality.agreement.spearman,
        score=mean(scores(quality)),
        images=advice.images,
        best=best,
        best_place=best_place,
        best_score=mean(scores(best_quality)),
        loss=advice.loss,
        error=advice.error,
    )
    return said


def in_short(run: Run) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """AblationCAM beside XGradCAM, a line for each layer: the head, and the rows."""
    head = (
        "network and layer",
        "XGradCAM, xaimed / grad-cam, forwards",
        "AblationCAM, xaimed / grad-cam, forwards",
        "times less",
        "rho of the two maps",
        "what AblationCAM's buys",
    )
    rows: list[tuple[str, ...]] = []
    for place in places(run):
        exact, cheap = place.entry(EXACT), place.entry(CHEAP)
        if exact is not None and cheap is not None and exact.extrapolated is not None:
            costs = [f"{times(e.forwards)} / {times(e.their_forwards)}" for e in (cheap, exact)]
            less = exact.extrapolated.speedup
            agree = _each(cheap.ours.qualities, lambda q: q.agreement.spearman)
            rows.append(
                (
                    f"{place.model}, {place.layer}",
                    costs[0],
                    f"{costs[1]}*",
                    f"{number(less.value)} [{number(less.low)}, {number(less.high)}]",
                    agree,
                    _bought_in_short(exact, cheap),
                )
            )
    return head, rows


def _bought_in_short(exact: Entry, cheap: Entry) -> str:
    if not exact.ours.qualities:
        return "not judged"
    if same_map(cheap):
        return "the same map"
    found = gains(exact, cheap)
    said = {verdict: [g for g in found if g.verdict == verdict] for verdict in ("better", "worse")}
    words = [f"{verdict}: {_listed(given)}" for verdict, given in said.items() if given]
    return "; ".join(words) or "nothing clear"


def _listed(found: Sequence[Gain]) -> str:
    return ", ".join(
        f"{MEASURES[g.measure][0]} by {abs(g.mean):.2g} ± {g.error:.1g} ({g.images})" for g in found
    )
