"""Images per second of every method in every variant, all timed in turns in one run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from xaimed_bench.measure.case import one_line
from xaimed_bench.measure.clock import Clock
from xaimed_bench.measure.interleave import interleave
from xaimed_bench.measure.subject import Subject
from xaimed_bench.profile.setting import Setting
from xaimed_bench.profile.variants import Variant, list_variants
from xaimed_core import explain
from xaimed_core.methods import METHODS, PAPER, ChannelProbe, Method
from xaimed_reports.compare.ratio import ratio
from xaimed_reports.profile.card import MethodRate

FORWARD = "plain forward"
FIVE = "five together"
MEASURED = (FORWARD, "xgradcam", FIVE)
"""Those whose memory and energy are measured."""
PROBED = "a forward pass per channel or sample, or attention: not timed on the card"


def measure_methods(setting: Setting) -> tuple[MethodRate, ...]:
    """One row per method and variant; a method that breaks in a variant keeps its row, with the reason."""
    clock = Clock(setting.device)
    subject = setting.subject()
    arms: dict[str, Callable[[], Any]] = {}
    first_s: dict[str, float] = {}
    broken: dict[str, str] = {}
    for variant in list_variants(setting.device):
        for name, call in calls(subject, variant, setting).items():
            key = f"{name}|{variant.name}"
            try:
                _, first_s[key] = clock.first(call)
                arms[key] = call
            except Exception as error:
                broken[key] = one_line(error)
    timings = interleave(arms, first_s, plan=setting.plan, clock=clock).timings
    rows: list[MethodRate] = []
    for variant in list_variants(setting.device):
        forward = timings[f"{FORWARD}|{variant.name}"]
        for name in (FORWARD, *METHODS, FIVE):
            row = partial(MethodRate, name, variant.name, setting.batch)
            key = f"{name}|{variant.name}"
            if key in timings:
                share = ratio(timings[key], forward)
                rate = setting.batch / timings[key].typical_s
                rows.append(row(rate, share.value, share.low, share.high))
            else:
                rows.append(row(reason=broken.get(key, PROBED)))
    return tuple(rows)


def on_the_card(method: Method) -> bool:
    """Whether any network has its map, at the cost of a few forwards at most."""
    return isinstance(method.kind, ChannelProbe) or method.of_one_pass


def calls(subject: Subject, variant: Variant, setting: Setting) -> dict[str, Callable[[], Any]]:
    """The plain forward, each method that needs no forward pass per channel, and the five from one call."""
    seen = variant.of(subject)

    def run(call: Callable[[], Any]) -> Any:
        with variant.active(setting.device):
            return call()

    found: dict[str, Callable[[], Any]] = {FORWARD: partial(run, seen.forward)}
    for name, method in METHODS.items():
        if on_the_card(method):
            found[name] = partial(run, explaining(seen, name))
    found[FIVE] = partial(run, explaining(seen, *PAPER))
    return found


def explaining(subject: Subject, *methods: str) -> Callable[[], Any]:
    """The call that explains the subject's batch by these methods."""
    return partial(explain, subject.model, subject.images, methods, subject.layer, subject.classes)
