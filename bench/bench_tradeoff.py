"""AblationCAM against the cheaper maps: what each costs in xaimed and in grad-cam.

AblationCAM of grad-cam is really timed on some of its ablation batches, two counts of them, which separate the cost of
a batch from what is paid once. Costs hardly depend on weights, so that seeded ones do; what the maps are worth on a
network that has learnt is for `xaimed evaluate`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import astuple, dataclass
from functools import partial
from typing import Any

import pytest
from torch import Tensor

from xaimed_bench.measure import agree_within, nearer_sign, of_maps, of_values, peers
from xaimed_bench.measure.subject import Subject
from xaimed_bench.models import MODELS
from xaimed_bench.questions.ceiling import count_ceiling
from xaimed_bench.questions.explaining import exactly
from xaimed_core import METHODS, Explanation, explain
from xaimed_core.explanation import Route
from xaimed_core.methods import PAPER
from xaimed_reports.store.ran import Ran
from xaimed_reports.store.records import Fidelity, Part

TOTAL_S = 600.0
"""For all cases, in place of the profile's: an exact AblationCAM at an earlier layer takes up to a hundred forwards."""

ABLATION = "ablationcam"
CHEAP = "xgradcam"
POOLED = ("gradcam", "xgradcam", "hirescam")
"""Asked together, so that the route says whether they coincide."""
BATCH = 32
"""Images in one of grad-cam's ablation batches, its default."""
TIMED = (2, 6)
"""How many of them are timed."""
WEIGHTS_AGREE = 1e-3  # of the largest channel weight: float32 forwards, whose logits are differences of two


@dataclass(frozen=True)
class Trade:
    """One value per axis, all short strings: they are the ids that later comparisons join on."""

    method: str
    model: str = "resnet50"
    layer: str = "last"
    batch: str = "4"
    size: str = "224"


def cases(profile: str) -> list[Trade]:
    """The paper's five methods at two layers; one image where an exact AblationCAM takes a hundred forwards."""
    match profile:
        case "gate":
            at = [("resnet18", "last", "2", "64")]
        case "quick":
            at = [
                ("resnet50", "last", "4", "224"),
                ("resnet50", "earlier", "1", "224"),
                ("resnet18", "last", "4", "224"),
                ("resnet18", "earlier", "1", "224"),
            ]
        case _:
            paper = [name for name, spec in MODELS.items() if spec.paper]
            at = [(name, role, "1", "224") for name in paper for role in MODELS[name].layers]
    return [Trade(method, *where) for where in at for method in PAPER]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "method" in metafunc.fixturenames:
        chosen = [astuple(case) for case in cases(metafunc.config.getoption("--profile"))]
        metafunc.parametrize("method, model, layer, batch, size", chosen)


def bench_trading_time_for_fidelity(measure, subjects, method, model, layer, batch, size):
    subject = subjects.get(model, layer, batch=int(batch), size=int(size))
    ask = ablations if method == ABLATION else one_pass
    with ExitStack() as built:
        measure(
            images=len(subject.images),
            forward=subject.forward,
            notes=lambda _: [f"{method}: {route(subject, method)}"],
            ran=lambda: ran(route(subject, method)),
            **ask(built, subject, method, to_zero=layer not in MODELS[model].nonnegative),
        )


def route(subject: Subject, method: str) -> Route:
    """What ran, and which maps coincide at the layer."""
    asked = POOLED if method == CHEAP else (method,)
    found = explain(subject.model, subject.images[:1], asked, subject.layer, list(subject.classes[:1]))
    return found.route[method]


def ran(route: Route) -> Ran:
    """What a record keeps of a route."""
    return Ran(route.kind, route.same_as)


def one_pass(built: ExitStack, subject: Subject, method: str, *, to_zero: bool) -> dict[str, Any]:
    """The question of a method that grad-cam answers in one forward and one backward."""
    return {
        "ours": partial(ours, subject, method),
        "against": built.enter_context(theirs(subject, method)),
        "what": peers.grad_cam_name(METHODS[method].oracle),
        "judge": judge_map,
        "allowed": agree_within([method]),
        "exact": lambda: exactly(subject, (method,))[method],
        "revision": METHODS[method].revision,
    }


def ablations(built: ExitStack, subject: Subject, method: str, *, to_zero: bool) -> dict[str, Any]:
    """AblationCAM beside XGradCAM and beside parts of grad-cam's, all in one interleaved run; the drops are checked."""
    some = [built.enter_context(some_of_theirs(subject, count, to_zero)) for count in TIMED]
    cheap = built.enter_context(theirs(subject, CHEAP))
    names = [f"{count} ablation batches of grad-cam" for count in TIMED]
    channels = ours(subject, CHEAP).weights[CHEAP].shape[1]
    whole = -(-channels // BATCH) * len(subject.images)
    return {
        "ours": partial(ours, subject, method),
        "truth": lambda: Expected(some[0](), cheap()),
        "peers": {CHEAP: partial(ours, subject, CHEAP), **dict(zip(names, some, strict=True))},
        "parts": {
            name: Part(f"ablation batch of {BATCH}", count, whole)
            for name, count in zip(names, TIMED, strict=True)
        },
        "ceiling": lambda: count_ceiling(subject.forward, partial(ours, subject, method), channels),
        "judge": judge_drops,
        "allowed": WEIGHTS_AGREE,
        "exact": lambda: exact_drops(subject, to_zero),
        "revision": METHODS[method].revision,
    }


@dataclass(frozen=True)
class Expected:
    """grad-cam's drops ``[n, c]``, NaN where it made no ablation, and its XGradCAM maps."""

    drops: Tensor
    maps: Any


def ours(subject: Subject, method: str) -> Explanation:
    classes = list(subject.classes)
    return explain(subject.model, subject.images, method, subject.layer, classes, semantics="grad-cam")


def theirs(subject: Subject, method: str) -> AbstractContextManager[Callable[[], Any]]:
    model = subject.apart(method)  # hooks of one extractor would slow down another
    return peers.grad_cam(METHODS[method].oracle, model, subject.layers, subject.images, subject.classes)


def some_of_theirs(
    subject: Subject, batches: int, to_zero: bool
) -> AbstractContextManager[Callable[[], Tensor]]:
    return peers.some_ablations(
        subject.apart(f"{batches} ablation batches"),
        subject.layer,
        subject.images,
        subject.classes,
        batches=batches,
        batch_size=BATCH,
        to_zero=to_zero,
    )


def exact_drops(subject: Subject, to_zero: bool) -> Expected:
    """grad-cam's drops and maps in float64: how much of a difference its own rounding explains."""
    model, images = subject.apart("float64").double(), subject.images.double()
    with peers.some_ablations(
        model, subject.layer, images, subject.classes, batches=TIMED[0], batch_size=BATCH, to_zero=to_zero
    ) as drops:
        return Expected(drops(), exactly(subject, (CHEAP,))[CHEAP])


def judge_map(found: Explanation | Any, expected: Any) -> Fidelity:
    """One method's maps."""
    if not isinstance(found, Explanation):
        return of_maps(found, expected)
    (method,) = found.maps
    return of_maps(nearer_sign(found, method, expected), expected)


def judge_drops(found: Explanation | Tensor | Expected, expected: Expected) -> Fidelity:
    """Drops where grad-cam made the ablation, as shares of the largest drop; XGradCAM by its maps."""
    if isinstance(found, Explanation) and CHEAP in found.maps:
        return of_maps(found.maps[CHEAP], expected.maps)
    match found:
        case Explanation():
            drops = found.weights[ABLATION].cpu()
        case Expected():
            drops = found.drops
        case _:
            drops = found
    made = ~expected.drops.isnan()
    scale = float(drops.nan_to_num().abs().max())
    return of_values(drops[made][None], expected.drops[made][None], name="channel drops", scale=scale)
