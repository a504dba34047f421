"""What an evaluation found, in sentences made from its numbers."""

from __future__ import annotations

from collections.abc import Iterator

from xaimed_reports.format import number, times
from xaimed_reports.study.evaluation import Cell, Evaluation, Pair, ranked

ROAD = "road"
AGREEMENT = "like ablationcam"
ALIKE = 0.99
"""Mean rank correlation from which two methods' maps are called the same."""
BASELINES = ("random", "centre-Gaussian", "edges")
BLURRED = ", blurred"
PUBLISHED = {"xgradcam": 0.12, "gradcam++": 0.09, "layercam": 0.08}
"""ROAD on glioma in arXiv 2503.08420, the only values per method that it prints."""
HYBRID = "layercam x gradcam++"


def findings(found: Evaluation) -> list[str]:
    """One paragraph's sentences."""
    return [
        *_accuracy(found),
        *(said for layer in found.layers for said in _at(found, layer)),
        *_price(found),
    ]


def is_baseline(method: str) -> bool:
    """Whether the map knows nothing of the network, or only blurs one that does."""
    return method in BASELINES or method.endswith(BLURRED)


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
    parts = [f"{a.value:.1%} of {a.images} ({a.what})" for a in found.accuracy if a.value is not None]
    if parts:
        yield f"The network is right about {'; '.join(parts)}."


def _at(found: Evaluation, layer: str) -> Iterator[str]:
    cells = ranked(found, layer, ROAD, higher=True)
    methods = [cell for cell in cells if not is_baseline(cell.method)]
    where = f"At {layer} ({found.layers[layer]})"
    if methods:
        best = methods[0]
        behind = [
            c.method
            for c in methods[1:]
            if (p := pair(found, layer, ROAD, best.method, c.method)) and p.differ
        ]
        versus = (
            f"better than {', '.join(behind)} (Wilcoxon, Holm)" if behind else "and no method differs from it"
        )
        yield f"{where} {best.method} has the highest ROAD, {interval(best)}, {versus}."
        known = max((c for c in found.cells if c.layer == "" and (c.metric, c.group) == (ROAD, "all")),
                    key=lambda c: c.mean, default=None)  # fmt: skip
        if known is not None:
            above = [c.method for c in methods if c.low is not None and c.low > known.mean]
            said = f"{len(above)} of {len(methods)} maps are clearly above it"
            yield f"The best map that knows nothing, {known.method}, reaches {interval(known)}; {said}."
    alike = [
        c.method
        for c in ranked(found, layer, AGREEMENT, higher=True)
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


def _price(found: Evaluation) -> Iterator[str]:
    for layer in found.layers:
        p = pair(found, layer, ROAD, "ablationcam", "xgradcam")
        if p is None:
            continue
        costs = {c.method: c.forwards for c in found.costs if c.layer == layer}
        price = (
            f" for {times(costs['ablationcam'] / costs['xgradcam'])} its time "
            f"({number(costs['ablationcam'])} forward passes)"
            if {"ablationcam", "xgradcam"} <= costs.keys()
            else ""
        )
        verdict = "a difference" if p.differ else "no difference shown"
        yield f"At {layer} AblationCAM buys {p.mean:+.3f} ROAD over XGradCAM{price}: {verdict}."
