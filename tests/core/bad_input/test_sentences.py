"""Every bad input to the Python API gets one plain sentence, and never a map: all that was tried."""

import traceback
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.core.bad_input.arguments import IMAGES, MODELS, TARGETS
from tests.core.bad_input.calls import CALLS
from tests.core.bad_input.compat_calls import COMPAT_CALLS
from tests.core.bad_input.explaining import EXPLAIN
from tests.core.bad_input.given import NET, E, Row, X
from tests.core.bad_input.scoring import EVALUATE, ROAD, SCORING
from xaimed_core import compat as cam
from xaimed_core import evaluate, explain, road, road_table

ROOMS = ("xaimed_core", "xaimed_kernels", "xaimed_bench")
ALLOWED = (TypeError, ValueError, IndexError, cam.NotMirroredError)


EXPLAINED = {"model": NET, "images": X, "methods": "xgradcam", "layer": "block"}
SCORED = {"model": NET, "images": X, "maps": E, "progress": False}


def rows() -> dict[str, Row]:
    """Every row as a call."""
    tables: list[tuple[Callable[..., Any], dict[str, Any], dict[str, Row]]] = []
    for function, usual in ((explain, EXPLAINED), (road, SCORED)):
        for argument, values in (("model", MODELS), ("images", IMAGES), ("targets", TARGETS)):
            named = {
                f"{argument}: {what}": ({argument: value}, *rest) for what, (value, *rest) in values.items()
            }
            tables.append((function, usual, named))
    tables += [(explain, EXPLAINED, EXPLAIN), (road, SCORED, ROAD), (road, SCORED, SCORING)]
    tables += [(road_table, SCORED, SCORING), (evaluate, {**SCORED, "metric": "road"}, EVALUATE)]
    found = {
        f"{function.__name__}({name})": (partial(function, **{**usual, **changes}), error, words)
        for function, usual, table in tables
        for name, (changes, error, words) in table.items()
    }
    return {**found, **CALLS, **COMPAT_CALLS}


ROWS = rows()


@pytest.mark.parametrize(("attempt", "error", "words"), ROWS.values(), ids=ROWS)
def test_a_bad_input_gets_one_plain_sentence(attempt, error, words):
    with pytest.raises(error) as caught:
        attempt()
    said = str(caught.value)
    assert words in said
    assert isinstance(caught.value, ALLOWED)
    assert len(said.splitlines()) <= 3
    assert not said.endswith("\n")
    raised_in = traceback.extract_tb(caught.value.__traceback__)[-1].filename
    assert any(f"/{room}/" in raised_in for room in ROOMS), f"not our sentence: {raised_in}"
