"""The tradeoff in words and tables: what AblationCAM costs, what that buys, and what to use instead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

from xaimed_reports.format import byte_count, number, seconds, times
from xaimed_reports.store.records import Quality, Run
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
    "ours, forwards",
    "grad-cam, forwards",
    "memory",
    "rho",
    "top 20 %",
    "deletion",
    "insertion",
    "in lesion",
)
LEGEND = (
    "forwards: time in plain forwards of the same network and batch, * reckoned from parts; memory: peak above what "
    "was resident, ours / grad-cam; rho and top 20 %: agreement with exact AblationCAM at that layer; deletion (small "
    "is good) and insertion (large is good): mean probability over the pixels removed or put back; in lesion: share of "
    "the map's mass, where one is known. Several kinds of images are separated by a slash."
)
RULE = (
    f"The rule: score is insertion less deletion; maps that lose at most {NEARLY:g} standard error of the paired "
    "difference to the best are as good; of these the one that costs fewest forwards is recommended, the highest score "
    f"where costs lie within {EQUAL_COST - 1:.0%}. A difference is called one from {CLEAR:g} standard errors on."
)
POOLED = "only pooled"
"""What a route says of a layer behind which there is nothing but pooling and a linear layer."""


def tables(run: Run) -> list[tuple[str, list[tuple[str, ...]]]]:
    """A title and rows of `COLUMNS` for each layer, by network; empty where maps were not judged."""
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
    memory = [byte_count(r.memory.peak_bytes) for r in (entry.ours, entry.theirs) if r and r.memory]
    theirs = times(entry.their_forwards) + ("*" if entry.reckoned is not None else "")
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


def told(run: Run) -> list[str]:
    """The answer in sentences, layer by layer, and a recommendation for each network."""
    found = places(run)
    if not found:
        return []
    said = [" ".join(_of_place(place)) for place in found]
    return [*said, RULE, *recommendations(run), _networks(found)]


def recommendations(run: Run) -> list[str]:
    """One for each network."""
    return [recommendation(given) for group in by_network(run).values() if (given := advise(group))]


def in_short(run: Run) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """AblationCAM beside XGradCAM, a line for each layer: the head, and the rows."""
    head = (
        "network and layer",
        "XGradCAM, ours / grad-cam, forwards",
        "AblationCAM, ours / grad-cam, forwards",
        "times less",
        "rho of the two maps",
        "what AblationCAM's buys",
    )
    rows: list[tuple[str, ...]] = []
    for place in places(run):
        exact, cheap = place.entry(EXACT), place.entry(CHEAP)
        if exact is not None and cheap is not None and exact.reckoned is not None:
            costs = [f"{times(e.forwards)} / {times(e.their_forwards)}" for e in (cheap, exact)]
            less = exact.reckoned.times_ours
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
    if same_map(cheap):
        return "the same map"
    found = gains(exact, cheap)
    said = {verdict: [g for g in found if g.verdict == verdict] for verdict in ("better", "worse")}
    words = [f"{verdict}: {_listed(given)}" for verdict, given in said.items() if given]
    return "; ".join(words) or "nothing clear"


def _networks(found: Sequence[Place]) -> str:
    """What was judged on what, and how good the networks are."""
    judged = [(p, e, q) for p in found for e in p.entries for q in e.ours.qualities]
    kinds = dict.fromkeys(f"{len(q.deletion)} {q.images}" for _, _, q in judged)
    words = dict.fromkeys(q.network for _, _, q in judged)
    return f"Judged on {' and '.join(kinds)}. {'. '.join(words)}.{_lesions(judged)}"


def _lesions(judged: Sequence[tuple[Place, Entry, Quality]]) -> str:
    known = [(mean(q.in_lesion), e, p) for p, e, q in judged if q.in_lesion]
    if not known:
        return ""
    chance = mean(area for _, _, q in judged for area in q.lesion_area)
    share, entry, place = max(known, key=lambda found: found[0])
    return (
        f" Lesions take {chance:.1%} of a phantom, which is what a map that knows nothing has in them; the most any "
        f"map has is {share:.1%} ({entry.method}, {place.model}, {place.layer} layer)."
    )


def _of_place(place: Place) -> list[str]:
    exact, cheap = place.entry(EXACT), place.entry(CHEAP)
    if exact is None:
        return [f"{title(place)}: AblationCAM was not measured here."]
    said = [f"{title(place)}:", *costs(exact, cheap)]
    if cheap is not None:
        said += [bought(exact, cheap), *_mathematics(exact, cheap)]
    return [*said, *arithmetic(exact)]


def costs(exact: Entry, cheap: Entry | None) -> list[str]:
    """What AblationCAM costs over XGradCAM, in grad-cam and here."""
    said: list[str] = []
    theirs, their_cheap = exact.their_forwards, cheap.their_forwards if cheap is not None else None
    if theirs is not None:
        over = f", {number(theirs / their_cheap)} times its XGradCAM" if their_cheap else ""
        said.append(f"In grad-cam AblationCAM costs {_forwards(theirs)}{over}.")
    ratio = f", {exact.cheap.value:.3g} times our XGradCAM" if exact.cheap is not None else ""
    first = f"the first call, which records the tail, {number(exact.first_forwards)}"
    here = f"Here it costs {_forwards(exact.forwards)} ({first}){ratio}"
    if exact.reckoned is not None:
        least = exact.reckoned.times_ours
        here += f": {number(least.value)} times less [{number(least.low)}, {number(least.high)}]"
    return [*said, here + "."]


def _forwards(value: float) -> str:
    return f"{number(value)} plain forwards"


def bought(exact: Entry, cheap: Entry) -> str:
    """What AblationCAM's map is better at than XGradCAM's, if anything."""
    if same_map(cheap):
        largest = max(q.agreement.largest for q in cheap.ours.qualities)
        return f"The two give the same map (largest difference {largest:.1g}): the extra cost buys nothing."
    found = gains(exact, cheap)
    better = [gain for gain in found if gain.verdict == "better"]
    worse = [gain for gain in found if gain.verdict == "worse"]
    agree = f"XGradCAM's maps agree with it at {agreement(cheap)}."
    if better and worse:
        return f"{agree} The extra cost buys a better {_listed(better)}, and a worse {_listed(worse)}."
    if better:
        return f"{agree} The extra cost buys a better {_listed(better)}."
    if worse:
        return f"{agree} The extra cost buys a worse map: {_listed(worse)}."
    nearest = max(found, key=lambda gain: abs(gain.mean) / max(gain.error, 1e-12))
    return (
        f"{agree} The extra cost buys nothing that these images show: by no measure do the two differ clearly "
        f"(nearest to it: {'better' if nearest.mean > 0 else 'worse'} {_listed([nearest])})."
    )


def agreement(entry: Entry) -> str:
    """The agreement with exact AblationCAM on each kind of images, e.g. "rho 0.97 and 93 % of the top 20 %"."""
    said: list[str] = []
    for quality in entry.ours.qualities:
        found = quality.agreement
        if found.spearman is not None and found.top_20 is not None:
            said.append(f"rho {found.spearman:.2f} and {found.top_20:.0%} of the top 20 % ({quality.images})")
    return ", ".join(said) or "no rho that could be told"


def _listed(found: Sequence[Gain]) -> str:
    return ", ".join(
        f"{MEASURES[g.measure][0]} by {abs(g.mean):.2g} ± {g.error:.1g} ({g.images})" for g in found
    )


def _mathematics(exact: Entry, cheap: Entry) -> list[str]:
    pooled = any(POOLED in note for note in cheap.ours.notes)
    closed = any("closed-form" in note for note in exact.ours.notes)
    if pooled and closed:
        return [
            "Behind this layer there is only pooling and a linear layer: XGradCAM, GradCAM and HiResCAM are one map "
            "there, and an ablation loses exactly XGradCAM's weight times the channel's sum, so that AblationCAM "
            "follows from the same single forward."
        ]
    return []


def arithmetic(exact: Entry) -> list[str]:
    """How grad-cam's time was reckoned from its parts, and what of the ceiling is reached."""
    said: list[str] = []
    if (r := exact.reckoned) is not None:
        (few, few_s), (many, many_s) = r.timed
        said.append(
            f"grad-cam's was not run whole. Of its {r.whole} steps, one {r.step} each, {few} took {seconds(few_s)} and "
            f"{many} took {seconds(many_s)}: {seconds(r.step_s)} each and {seconds(r.fixed_s)} besides. Reckoned, not "
            f"measured: {seconds(r.fixed_s)} + {r.whole} x {seconds(r.step_s)} = {seconds(r.whole_s)}."
        )
    if (c := exact.ours.ceiling) is not None and exact.reached is not None:
        said.append(
            f"Ceiling: {c.channels} forwards of {_giga(c.forward_flops)} over {_giga(c.exact_flops)} that exactness "
            f"leaves = {number(c.times)}x; by time {number(c.channels / exact.forwards)}x is reached, "
            f"{exact.reached:.0%} of it."
        )
    return said


def _giga(flops: int) -> str:
    return f"{flops / 1e9:.4g} GFLOP"


def recommendation(advice: Advice) -> str:
    """One sentence that says what to use, what it costs, how it agrees, and what it gives up."""
    (place, entry), (best_place, best) = advice.chosen, advice.best
    quality = entry.quality(advice.images)
    assert quality is not None
    found = quality.agreement
    agrees = (
        "it is exact AblationCAM"
        if entry.method == EXACT
        else f"agrees with exact AblationCAM there at rho {found.spearman:.2f}"
        if found.spearman is not None
        else "its agreement with exact AblationCAM could not be told"
    )
    said = (
        f"Recommended for {place.model}: {entry.method} at the {place.layer} layer: "
        f"{_forwards(entry.forwards)}, {agrees}; score {mean(scores(quality)):.3f} on {advice.images}"
    )
    if entry is best:
        return f"{said}, the highest of all measured."
    quality = best.quality(advice.images)
    assert quality is not None
    return (
        f"{said}. The highest, {best.method} at the {best_place.layer} layer for {_forwards(best.forwards)}, has "
        f"{mean(scores(quality)):.3f}, more by {advice.loss:.3f} ± {advice.error:.3f}."
    )
