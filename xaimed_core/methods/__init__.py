"""The CAM methods, each a value in a file in the room of its kind. To add one: write its file, name it here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import Any, cast, final

from xaimed_core.methods.method import (
    AblationValue,
    Attention,
    Biases,
    ChannelProbe,
    InputProbe,
    KernelProjection,
    Kind,
    Method,
    PositionProbe,
    Product,
    Projection,
    Reduction,
    Smoothing,
    Weighing,
    Windows,
)

_HOMES = {
    "gradcam": "reduction.gradcam:GRADCAM",
    "gradcam++": "reduction.gradcampp:GRADCAM_PLUS_PLUS",
    "xgradcam": "reduction.xgradcam:XGRADCAM",
    "layercam": "reduction.layercam:LAYERCAM",
    "hirescam": "reduction.hirescam:HIRESCAM",
    "gradcamelementwise": "reduction.gradcamelementwise:GRADCAM_ELEMENTWISE",
    "finercam": "reduction.finercam:FINERCAM",
    "shapleycam": "reduction.shapleycam:SHAPLEYCAM",
    "eigencam": "projection.eigencam:EIGENCAM",
    "eigengradcam": "projection.eigengradcam:EIGENGRADCAM",
    "segeigencam": "projection.segeigencam:SEGEIGENCAM",
    "kpcacam": "projection.kpcacam:KPCACAM",
    "fem": "weighing.fem:FEM",
    "randomcam": "weighing.randomcam:RANDOMCAM",
    "ablationcam": "probe.ablationcam:ABLATIONCAM",
    "scorecam": "probe.scorecam:SCORECAM",
    "sscam": "probe.sscam:SSCAM",
    "iscam": "probe.iscam:ISCAM",
    "reciprocam": "probe.reciprocam:RECIPROCAM",
    "smoothgradcam++": "smoothing.smoothgradcampp:SMOOTHGRADCAM_PLUS_PLUS",
    "legrad": "attention.legrad:LEGRAD",
    "attentionrollout": "attention.attentionrollout:ATTENTIONROLLOUT",
    "fullgrad": "network.fullgrad:FULLGRAD",
    "refinecam": "composed.refinecam:REFINECAM",
    "sess": "composed.sess:SESS",
}


@final
class _Methods(Mapping[str, Method]):
    """A method's file loads when the method is asked for."""

    def __getitem__(self, name: str) -> Method:
        return resolve_name(f"{__name__}.{_HOMES[name]}")

    def __iter__(self) -> Iterator[str]:
        return iter(_HOMES)

    def __len__(self) -> int:
        return len(_HOMES)


METHODS: Mapping[str, Method] = _Methods()
"""Every method by name; API, command line, tests against grad-cam, benchmarks and reports are made from it."""

PAPER: tuple[str, ...] = ("gradcam++", "xgradcam", "eigengradcam", "ablationcam", "layercam")
"""The five methods of arXiv 2503.08420, by name."""


def method_of(name: str) -> Method:
    """The method of that name, or of one in another: ``sess(layercam)``.

    Raises ValueError that lists the names, with the nearest first.
    """
    if isinstance(name, str) and name in METHODS:  # pyright: ignore[reportUnnecessaryIsInstance]
        return METHODS[name]
    if isinstance(name, str) and (inside := re.fullmatch(r"([^()]+)\((.+)\)", name)):  # pyright: ignore[reportUnnecessaryIsInstance]
        return method_of(inside[1]).over(method_of(inside[2]))
    spelled = {
        way: m.name
        for m in METHODS.values()
        for way in filter(None, (m.name, m.name.replace("+", "p"), m.oracle.lower()))
    }
    close = get_close_matches(str(name).lower().replace("-", "").replace("_", ""), spelled, n=1)
    hint = f"did you mean {spelled[close[0]]!r}? The" if close else "the"
    raise ValueError(f"no CAM method {name!r}; {hint} methods are {', '.join(METHODS)}")


def names_of(methods: Any) -> tuple[str, ...]:
    """The names in ``methods``, one or several, each once. Raises TypeError for anything else."""
    listed = (methods,) if isinstance(methods, str) else methods
    if not isinstance(listed, Iterable) or not all(
        isinstance(name, str) for name in cast("Iterable[Any]", listed)
    ):
        raise TypeError(f'methods must be a name, e.g. "xgradcam", or a list of names, got {methods!r:.60}')
    return tuple(dict.fromkeys(listed))


__all__ = [
    "METHODS",
    "PAPER",
    "AblationValue",
    "Attention",
    "Biases",
    "ChannelProbe",
    "InputProbe",
    "KernelProjection",
    "Kind",
    "Method",
    "PositionProbe",
    "Product",
    "Projection",
    "Reduction",
    "Smoothing",
    "Weighing",
    "Windows",
    "method_of",
    "names_of",
]
