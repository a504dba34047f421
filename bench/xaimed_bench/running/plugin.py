"""pytest's plugin "xaimed": the fixture `measure` for anyone's benches, written to --benchmark-json with their times.

pytest loads it wherever xaimed is installed. A run whose tests do not ask for `measure` is left as it is: nothing but
this file and the options' names is imported, and no hook changes anything. Of a run that measures,
`xaimed_bench.running.measuring` takes care.

Whichever of a case's tests runs first measures all implementations of the case; the others replay their samples.
Parametrise benches with short strings only: the ids are the join key of every later comparison.

Options that cannot be used (a device that is not here, a folder without images, a checkpoint that does not fit) end
the run in one line before anything is measured, with exit code 2, and so does a disk that is full.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from xaimed_bench.running.declared import PREFIX, any_given, declare, given
from xaimed_bench.running.ending import UNUSABLE
from xaimed_reports.format import say
from xaimed_reports.store.records import OURS, REFERENCE

if TYPE_CHECKING:
    import torch

    from xaimed_bench.running.measuring import Measuring

PEERS = ("torchcam", "captum")
MEASURING = "xaimed-measuring"
ACTIVE = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    declare(parser, PREFIX)


@pytest.hookimpl(wrapper=True)
def pytest_cmdline_main(config: pytest.Config) -> Generator[None, Any, Any]:
    """Say in one line what cannot be used."""
    try:
        return (yield)
    except pytest.UsageError as error:
        if ACTIVE not in config.stash:
            raise
        say(f"ERROR: {error}", sys.stderr)
        return UNUSABLE


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that cannot be used before tests are collected."""
    if any_given(config):
        activate(config)


def activate(config: pytest.Config) -> Measuring:
    """What measures in this run: made, and the options looked at, when it is first asked for."""
    found: Measuring | None = config.pluginmanager.get_plugin(MEASURING)
    if found is None:
        config.stash[ACTIVE] = True
        try:
            from xaimed_bench.running.measuring import Measuring  # brings torch
        except ModuleNotFoundError as error:
            raise pytest.UsageError(
                f"not installed: {error.name}; type pip install 'xaimed[bench]'"
            ) from error
        found = Measuring(config)
        config.pluginmanager.register(found, MEASURING)
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if measured(metafunc):
        metafunc.parametrize("impl", [OURS, REFERENCE, *peers(metafunc.config)])


@pytest.hookimpl(trylast=True)  # once others have deselected theirs
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the cases asked for, and bring them into the order asked for; a case's tests stay together."""
    if any(measured(item) for item in items):
        activate(config).arrange(items)


def measured(item: object) -> bool:
    """Whether a test asks for this `measure`, not for a fixture that happens to have the name."""
    return "xaimed_measuring" in getattr(item, "fixturenames", ())


def peers(config: pytest.Config) -> tuple[str, ...]:
    """The packages beside grad-cam that --peers asked for and that are installed."""
    return tuple(name for name in PEERS if given(config).peers and importlib.util.find_spec(name))


@pytest.fixture(scope="session")
def xaimed_measuring(pytestconfig: pytest.Config) -> Measuring:
    return activate(pytestconfig)


@pytest.fixture
def measure(request: pytest.FixtureRequest, impl: str, xaimed_measuring: Measuring) -> Callable[..., None]:
    """Measure xaimed against a reference: checked first, then timed in turns, a row for each in the JSON."""
    xaimed_measuring.skip_where_no_time_is_left(request)

    def measure(
        ours: Callable[[], Any],
        *,
        images: int,
        against: Callable[[], Any] | None = None,
        what: str = "reference",
        peers: Mapping[str, Callable[[], Any]] | None = None,
        pictures: Callable[[Any, Any], Mapping[str, torch.Tensor]] | None = None,
        **question: Any,
    ) -> None:
        """Ask one question.

        ``against`` is the reference and ``what`` its name and version; ``peers``: further implementations, by
        name. ``pictures``: named images ``[h, w]`` or ``[h, w, 3]`` in [0, 1] of xaimed's and the expected output, for
        the report. The rest as in `xaimed_bench.measure.case.Question`: allowed, judge, truth, exact, absent, ...
        """
        question |= {"against": against, "what": what, "peers": peers, "pictures": pictures}
        xaimed_measuring.ask(request, impl, ours, images, **question)

    return measure
