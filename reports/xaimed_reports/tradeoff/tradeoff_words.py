"""The tradeoff in words and tables: what AblationCAM costs beside the cheaper maps."""

from __future__ import annotations

from xaimed_reports.format import byte_count, times
from xaimed_reports.rendering import paragraphs
from xaimed_reports.store.rows import Run
from xaimed_reports.tradeoff.tradeoff import Entry, Place, places

TITLE = "What AblationCAM costs"
COLUMNS = ("map", "xaimed, forwards", "grad-cam, forwards", "memory")
LEGEND = (
    "forwards: time in plain forwards of the same network and batch, * extrapolated from timed parts. memory: peak "
    "above what was resident, xaimed / grad-cam."
)


def tables(run: Run) -> list[tuple[str, list[tuple[str, ...]]]]:
    """A title and rows of `COLUMNS` for each layer, by network; what was not measured is a dash."""
    return [(title(place), [row(entry) for entry in place.entries]) for place in places(run)]


def title(place: Place) -> str:
    """The network, the layer and the batch."""
    return f"{place.model}, {place.layer} layer, {place.images} image{'s' if place.images > 1 else ''}"


def row(entry: Entry) -> tuple[str, ...]:
    """One map's cells."""
    memory = [byte_count(r.memory.peak_bytes) for r in (entry.ours, entry.theirs) if r is not None]
    theirs = times(entry.their_forwards) + ("*" if entry.extrapolated is not None else "")
    return entry.method, times(entry.forwards), theirs, " / ".join(memory)


def answer(run: Run) -> list[str]:
    """The answer in paragraphs, layer by layer; none where a run asked something else."""
    found = places(run)
    return paragraphs("tradeoff.txt", places=found, title=title, one_map=_one_map) if found else []


def _one_map(exact: Entry, cheap: Entry) -> bool:
    """Whether only pooling and a linear layer follow, so that both maps come from the same single forward."""
    one, other = cheap.ours.ran, exact.ours.ran
    return one is not None and bool(one.same_as) and other is not None and other.kind == "closed-form"
