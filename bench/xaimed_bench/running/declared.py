"""The options of benches, declared. Nothing heavy is imported here: every run of pytest beside xaimed declares them."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, Any

from xaimed_bench.device import DEVICE_HELP

if TYPE_CHECKING:
    import pytest

PREFIX = "--xaimed-"
"""Before each option outside this repository, so that none has the name of another plugin's."""
_DEST = "xaimed_"

OPTIONS: dict[str, dict[str, Any]] = {
    "profile": {
        "metavar": "NAME",
        "default": "quick",
        "help": "how much is measured: quick (minutes, the default), full (an hour), gate (regressions only)",
    },
    "budget": {
        "metavar": "SECONDS",
        "help": "end the measuring after so long: the most important cases come first, the others are skipped; "
        "default: as the profile says",
    },
    "device": {"help": DEVICE_HELP},
    "data": {"help": "folder of real images; default: $XAIMED_DATA, else phantoms"},
    "data-name": {"help": "what to call these images in results that may be shared"},
    "checkpoint": {"help": "weights of the models (a state_dict file); default: seeded and calibrated"},
    "peers": {"action": "store_true", "help": "measure torch-cam and Captum too, where installed"},
    "shuffle": {"metavar": "SEED", "help": "measure the cases in an order that this seed decides"},
    "only-case": {
        "action": "append",
        "default": [],
        "metavar": "KEY",
        "help": "measure only the case of this key",
    },
    "extra-work": {
        "action": "append",
        "default": [],
        "metavar": "KEY=SHARE",
        "help": "for trials of the gate: make xaimed really slower by this share in this case",
    },
    "cold": {"action": "store_true", "help": "overwrite the GPU's L2 cache before each call"},
    "journal": {"help": "where finished cases are kept; default: beside the JSON, or xaimed-results/"},
    "resume": {"action": "store_true", "help": "take finished cases from the journal of an unfinished run"},
}
"""What argparse needs to know of each option, by the name that follows the prefix."""


def declare(parser: pytest.Parser, prefix: str) -> None:
    """Let pytest take the options under this prefix; those of two prefixes are one and the same."""
    group = parser.getgroup("xaimed", "measuring with xaimed")
    for name, settings in OPTIONS.items():
        group.addoption(prefix + name, dest=_DEST + _place(name), **settings)


def given(config: pytest.Config) -> argparse.Namespace:
    """The options by their names without a prefix, and pytest-benchmark's file to write."""
    found = {_place(name): getattr(config.option, _DEST + _place(name)) for name in OPTIONS}
    found["data"] = found["data"] or os.environ.get("XAIMED_DATA")
    return argparse.Namespace(**found, benchmark_json=getattr(config.option, "benchmark_json", None))


def prefix(config: pytest.Config) -> str:
    """What stands before a name in this run: nothing but "--" in this repository, "--xaimed-" elsewhere."""
    unknown = object()
    return PREFIX if config.getoption("--extra-work", unknown) is unknown else "--"


def spelt(config: pytest.Config, text: str) -> str:
    """The text, with the options that it names as this run takes them."""
    return re.sub(rf"--(?=({'|'.join(OPTIONS)})\b)", prefix(config), text)


def any_given(config: pytest.Config) -> bool:
    """Whether one of the options was given, so that benches are meant to be measured."""
    return any(
        getattr(config.option, _DEST + _place(name)) not in (settings.get("default"), None, False)
        for name, settings in OPTIONS.items()
    )


def _place(name: str) -> str:
    return name.replace("-", "_")
