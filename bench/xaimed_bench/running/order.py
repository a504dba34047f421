"""Which cases are measured, and in which order."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence

from xaimed_reports.store.jsonform import UnusableError
from xaimed_reports.store.records import Case

MOST_NAMED = 9
"""Of cases in a message."""


def need_known(asked: Collection[str], cases: Iterable[Case]) -> None:
    """Raise UnusableError for a key asked for that no case has."""
    known = {case.key for case in cases}
    for key in asked:
        if key not in known:
            there = f"there are {', '.join(sorted(known))}"
            if len(known) > MOST_NAMED:
                there = f"there are e.g. {min(known)}; pytest --collect-only lists all"
            raise UnusableError(
                f"--only-case {key}: no case is called so; {there if known else 'there is none'}"
            )


def need_apart(named: Iterable[tuple[str, str]]) -> None:
    """Raise UnusableError where two benches, ``(key, where it is written)``, would be taken for one case."""
    places: dict[str, str] = {}
    for key, place in named:
        if (other := places.setdefault(key, place)) != place:
            raise UnusableError(f"{other} and {place} are both called {key}; give one of them another name")


def shuffled(cases: Sequence[Case], seed: int) -> list[str]:
    """The keys in an order that the seed decides."""
    order = sorted({case.key for case in cases})
    random.Random(seed).shuffle(order)
    return order


def by_importance(cases: Sequence[Case]) -> list[str]:
    """The first case of each question, then the others: a run that ends early has said something about everything.

    Each bench lists its cases with the most important first.
    """
    first = {case.bench: case.key for case in reversed(cases)}
    keys = list(dict.fromkeys(case.key for case in cases))
    return sorted(keys, key=lambda key: key not in first.values())
