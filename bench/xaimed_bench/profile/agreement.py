"""How far maps move in lower precision, another layout or a compiled model: all against float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from xaimed_bench.measure.case import one_line
from xaimed_bench.measure.fidelity import LEAST_SPREAD_SHARE, of_maps
from xaimed_bench.measure.subject import Subject
from xaimed_bench.profile.methods import on_the_card
from xaimed_bench.profile.setting import Setting
from xaimed_bench.profile.variants import Variant, list_variants
from xaimed_core import Explanation, explain
from xaimed_core.methods import METHODS
from xaimed_reports.profile.card import Agreement

COMPILED = "compiled"
MOST_IMAGES = 8


def measure_agreement(setting: Setting) -> tuple[Agreement, ...]:
    """Largest and RMS difference of each method's maps in each variant; the same classes are explained in all."""
    subject = setting.subject(min(setting.batch, MOST_IMAGES))
    methods = [name for name, method in METHODS.items() if on_the_card(method)]
    exact = _explain(_exact(subject), methods)
    rows: list[Agreement] = []
    for variant in list_variants(setting.device):
        with variant.active(setting.device):
            rows += _compare(variant.name, methods, lambda v=variant: _explain(v.of(subject), methods), exact)
    with Variant(COMPILED).active(setting.device):
        rows += _compare(COMPILED, methods, lambda: _explain(_compiled(subject), methods), exact)
    return tuple(rows)


def _compare(
    variant: str, methods: list[str], run: Callable[[], Explanation], exact: Explanation
) -> list[Agreement]:
    try:
        found = run()
    except Exception as error:
        return [Agreement(name, variant, reason=f"skipped: {one_line(error)}") for name in methods]
    rows: list[Agreement] = []
    for name in methods:
        fidelity = of_maps(found.maps[name], exact.maps[name])
        if fidelity.spread < LEAST_SPREAD_SHARE:
            rows.append(Agreement(name, variant, reason="the float64 maps are flat: nothing to compare"))
        else:
            rows.append(Agreement(name, variant, fidelity.largest, fidelity.rms))
    return rows


def _explain(subject: Subject, methods: list[str]) -> Explanation:
    return explain(subject.model, subject.images, methods, subject.layer, subject.classes)


def _exact(subject: Subject) -> Subject:
    """The definition: everything in float64, on the CPU, for the Triton kernels sum in float32."""
    model = subject.apart("float64").to("cpu", torch.float64)
    return replace(subject, model=model, images=subject.images.to("cpu", torch.float64))


def _compiled(subject: Subject) -> Subject:
    compiled: Any = torch.compile(subject.model)
    return replace(subject, model=compiled)
