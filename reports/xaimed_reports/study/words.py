"""What an evaluation found, in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from xaimed_reports.format import byte_count, number, times
from xaimed_reports.study.evaluation import Cell, Evaluation, Pair, ranked

ROAD = "road"
AGREEMENT = "like ablationcam"
"""Spearman's correlation of a map with AblationCAM's at the same layer: 1 where they order pixels alike."""
ALIKE = 0.99
"""Mean rank correlation from which two methods' maps are called the same."""
BASELINES = ("random", "centre-Gaussian", "edges")
"""Maps that know nothing of the network, once per image."""
BLURRED = ", blurred"
PAPER = ("gradcam++", "xgradcam", "eigengradcam", "layercam")
"""The methods of arXiv 2503.08420 beside AblationCAM."""
PUBLISHED = {"xgradcam": 0.12, "gradcam++": 0.09, "layercam": 0.08}
"""ROAD on glioma in arXiv 2503.08420, the only values per method that it prints."""
HIGHEST = {ROAD: "ROAD", "auprc": "pixel AUPRC"}
"""Metrics of which the best map is named, where they were asked for: of faithfulness, and of finding a lesion."""
HYBRID = "layercam x gradcam++"
SIGNED = 0.01
"""The part of a layer's values below 0 from which it counts as signed."""


def findings(found: Evaluation) -> list[str]:
    """A paragraph on the network, one on each layer, one on the price of it all, one on the hypothesis."""
    layers = [" ".join([*_at(found, layer), *_price(found, layer)]) for layer in found.layers]
    return [said for said in (*_accuracy(found), *layers, *_spent(found), *_hypothesis(found)) if said]


def is_baseline(method: str) -> bool:
    """Whether the map knows nothing of the network, or only blurs one that does."""
    return method in BASELINES or method.endswith(BLURRED)


def right(found: Evaluation) -> str:
    """How often the network is right, of all images that were evaluated; a dash where no label is known."""
    value = found.accuracy[0].value if found.accuracy else None
    return "-" if value is None else f"{value:.1%}"


def interval(cell: Cell | None) -> str:
    """ "+0.123 [+0.100, +0.150]"; a dash where there is nothing."""
    if cell is None:
        return "-"
    around = "" if cell.low is None or cell.high is None else f" [{cell.low:+.3f}, {cell.high:+.3f}]"
    return f"{cell.mean:+.3f}{around}"


def pair(found: Evaluation, layer: str, metric: str, a: str, b: str) -> Pair | None:
    """The test of two methods, the first minus the second whichever way it was stored."""
    for p in found.pairs:
        if (p.layer, p.metric) == (layer, metric):
            if (p.first, p.second) == (a, b):
                return p
            if (p.first, p.second) == (b, a):
                return Pair(layer, metric, a, b, -p.mean, p.images, p.p, p.differ)
    return None


def _accuracy(found: Evaluation) -> Iterator[str]:
    known = {a.images: a for a in found.accuracy if a.value is not None}  # of equal sets, the strictest
    parts = [f"{a.value:.1%} of {a.images} ({a.what})" for a in known.values()]
    if parts:
        yield f"The network is right about {', '.join(parts)}."


def _best(found: Evaluation, layer: str, metric: str, title: str) -> Iterator[str]:
    """Which map is highest, which methods it beats, and what maps reach that know nothing."""
    cells = ranked(found, layer, metric)
    methods = [cell for cell in cells if not is_baseline(cell.method)]
    if not methods:
        return
    best, *others = methods
    behind = [
        c.method for c in others if (p := pair(found, layer, metric, best.method, c.method)) and p.differ
    ]
    versus = f"better than {', '.join(behind)}" if behind else "and no method differs from it"
    yield f"At {layer} ({found.layers[layer]}) {best.method} has the highest {title}, {interval(best)}, {versus}."
    known = ranked(found, "", metric)
    if known:
        above = [c.method for c in methods if c.low is not None and c.low > known[0].mean]
        said = f"{len(above)} of {len(methods)} maps are clearly above it"
        yield f"The best map that knows nothing, {known[0].method}, reaches {interval(known[0])}; {said}."


def _at(found: Evaluation, layer: str) -> Iterator[str]:
    for metric, title in HIGHEST.items():
        yield from _best(found, layer, metric, title)
    alike = [
        c.method
        for c in ranked(found, layer, AGREEMENT)
        if c.mean >= ALIKE and c.method != "ablationcam" and not is_baseline(c.method)
    ]
    if found.cell(layer, "ablationcam", AGREEMENT) is not None:
        yield (
            f"{', '.join(alike)} {'orders' if len(alike) == 1 else 'order'} pixels as AblationCAM does there "
            f"(mean rank correlation {ALIKE} or more)."
            if alike
            else f"No method's map coincides with AblationCAM's there (mean rank correlation below {ALIKE})."
        )
    hybrid = [
        p for part in ("layercam", "gradcam++") if (p := pair(found, layer, ROAD, HYBRID, part)) is not None
    ]
    if len(hybrid) == 2:
        said = " and ".join(
            f"{p.mean:+.3f} {p.second} ({'differs' if p.differ else 'no difference shown'})" for p in hybrid
        )
        yield f"{HYBRID} against its parts: {said}."


def _price(found: Evaluation, layer: str) -> Iterator[str]:
    p = pair(found, layer, ROAD, "ablationcam", "xgradcam")
    if p is None:
        return
    costs = {c.method: c.forwards for c in found.costs if c.layer == layer}
    price = (
        f"at {times(costs['ablationcam'] / costs['xgradcam'])} its time, {times(costs['ablationcam'])} a forward pass"
        if {"ablationcam", "xgradcam"} <= costs.keys()
        else "not timed here"
    )
    scores = (
        f"scores {abs(p.mean):.3f} {'higher' if p.mean > 0 else 'lower'} than"
        if p.differ
        else "scores no different from"
    )
    yield f"AblationCAM {scores} XGradCAM, {price}."


def _spent(found: Evaluation) -> Iterator[str]:
    """How near the whole is to the forwards alone."""
    if (took := found.spent) is not None:
        parts = ", ".join(f"{name} {number(part)}" for name, part in took.parts.items())
        yield (
            f"The evaluation took {times(took.whole)} the {took.needed:,} forwards that an image needs ({parts}; "
            f"medians of {took.batches} x {took.batch} images)."
        )
        if took.tenth_bytes and took.peak_bytes:
            yield (
                f"Peak memory of a process: {byte_count(took.tenth_bytes)} after a tenth of the images, "
                f"{byte_count(took.peak_bytes)} after all {found.images:,}."
            )


def _hypothesis(found: Evaluation) -> Iterator[str]:
    """The methods coincide where activations have one sign, and separate where they have both."""
    likeness = {layer: _likeness(found, layer) for layer in found.negative}
    known = {layer: value for layer, value in likeness.items() if value is not None}
    if not known:
        return
    said = "; ".join(
        f"{value:.2f} at {layer} ({found.negative[layer]:.0%} of its values are negative)"
        for layer, value in known.items()
    )
    signed = [value for layer, value in known.items() if found.negative[layer] >= SIGNED]
    one_sign = [value for layer, value in known.items() if found.negative[layer] < SIGNED]
    if not signed or not one_sign:
        missing = "of one sign" if signed else "of both signs"
        verdict = f"It is not judged, for no layer with values {missing} was evaluated"
    elif min(one_sign) >= ALIKE and max(signed) < ALIKE:
        verdict = f"It holds here: {ALIKE} or more where values have one sign, less where they have both"
    elif min(one_sign) > max(signed):
        verdict = (
            "It holds in part: the methods are more alike where values have one sign, but do not coincide"
        )
    else:
        verdict = "It fails here"
    yield (
        "Hypothesis: the methods coincide after a ReLU and separate where values have both signs. Mean rank "
        f"correlation of the other methods' maps with AblationCAM's: {said}. {verdict}."
    )


def _likeness(found: Evaluation, layer: str) -> float | None:
    """The mean over the paper's other methods."""
    cells = (found.cell(layer, method, AGREEMENT) for method in PAPER)
    values = [cell.mean for cell in cells if cell is not None]
    return sum(values) / len(values) if values else None
