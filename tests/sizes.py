"""Which networks are tested each night only: they take longest, and smaller ones show the same in every run."""

from collections.abc import Iterable
from typing import Any

import pytest

LARGE = ("vgg16", "vit_b_16")


def by_size(cases: Iterable[Any]) -> list[Any]:
    """Each case as one parameter: a network's name, or a tuple that begins with it. `LARGE` ones are nightly."""
    return [
        pytest.param(case, marks=pytest.mark.nightly if case in LARGE or case[0] in LARGE else ())
        for case in cases
    ]
