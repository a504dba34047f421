"""The benches of this checkout: xaimed's plugin, its options under short names, and the models that benches share."""

from __future__ import annotations

from pathlib import Path

import pytest

from xaimed_bench.measure.subject import Subjects
from xaimed_bench.running import plugin
from xaimed_bench.running.declared import declare

collect_ignore = ["bench_tradeoff.py"]
"""It takes many minutes: it runs when it is named, not with all the others."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    if not pluginmanager.is_registered(plugin):  # an installed xaimed brings it
        pluginmanager.register(plugin, "xaimed of this checkout")
    declare(parser, "--")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "default")  # what is measured may warn: no error of xaimed
    measuring = plugin.activate(config)
    if not measuring.option.data:
        measuring.images_from = "phantoms (mri), seed 0"


@pytest.fixture(scope="session")
def subjects(xaimed_measuring) -> Subjects:
    """Models with their images, on the device and from the data and weights that the options name."""
    option = xaimed_measuring.option
    data, weights = (Path(p) if p else None for p in (option.data, option.checkpoint))
    return Subjects(xaimed_measuring.device, data=data, checkpoint=weights)


@pytest.fixture
def asked_peers(pytestconfig: pytest.Config) -> tuple[str, ...]:
    """The packages beside grad-cam that --peers asked for and that are installed."""
    return plugin.peers(pytestconfig)
