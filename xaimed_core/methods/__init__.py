"""The CAM methods, each a value in a file in the room of its kind. To add one: write its file, name it here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pkgutil import resolve_name
from typing import final

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
]
