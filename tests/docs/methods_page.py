"""The table of docs/methods-and-packages.md, from `METHODS`: ``python -m tests.docs.methods_page`` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from xaimed_core import METHODS
from xaimed_core.methods import (
    Attention,
    Biases,
    ChannelProbe,
    InputProbe,
    KernelProjection,
    Method,
    PositionProbe,
    Product,
    Projection,
    Reduction,
    Smoothing,
    Weighing,
    Windows,
)

PAGE = Path(__file__).parents[2] / "docs/methods-and-packages.md"
BLOCK = re.compile(r"(<!-- begin methods: [^\n]* -->\n)(.*?)(<!-- end methods -->)", re.DOTALL)
HEAD = """\
| method | formula | source | a batch costs | grad-cam | torch-cam | captum |
| :-- | :-- | :-- | :-- | :-- | :-- | :-- |
"""

TORCHCAM = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMpp",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "finercam": "FinerCAM",
    "scorecam": "ScoreCAM",
    "sscam": "SSCAM",
    "iscam": "ISCAM",
    "smoothgradcam++": "SmoothGradCAMpp",
    "legrad": "LeGrad",
    "refinecam": "RefineCAM",
}
CAPTUM = {"gradcam": "LayerGradCam"}


def cost(method: Method) -> str:
    """In forwards F and backwards of the tail behind the layer B."""
    match method.kind:
        case Reduction(slope="shapley"):
            return "F + 2 B"
        case Reduction() | Projection(by_gradient=True):
            return "F + B"
        case Projection() | KernelProjection() | Weighing():
            return "F"
        case ChannelProbe():
            return "F + linear algebra or replays of the tail"
        case InputProbe(scales=(_,)):
            return "F for each channel"
        case InputProbe(scales=scales):
            return f"{len(scales)} F for each channel"
        case PositionProbe():
            return "2 F + the tail for each position"
        case Smoothing(samples=samples):
            return f"{samples + 1} (F + B)"
        case Attention(by_gradient=True):
            return "2 F + a backward of each block"
        case Attention():
            return "2 F"
        case Biases():
            return "F + a backward of the whole network"
        case Product(of=of):
            return f"{cost(of)}, behind the earliest layer"
        case Windows(of=of, scales=scales):
            return f"{cost(of)} for each window of {scales} scales"


def line_of(method: Method) -> str:
    """A method's row."""
    cells = (
        f"`{method.name}`",
        f"`{method.equation}`".replace("|", "\\|"),
        method.paper,
        cost(method),
        f"`{method.oracle}`" if method.oracle else "",
        f"`{TORCHCAM[method.name]}`" if method.name in TORCHCAM else "",
        f"`{CAPTUM[method.name]}`" if method.name in CAPTUM else "",
    )
    return f"| {' | '.join(cells)} |\n"


def table() -> str:
    """All of it."""
    return HEAD + "".join(map(line_of, METHODS.values()))


if __name__ == "__main__":
    PAGE.write_text(BLOCK.sub(lambda found: found[1] + table() + found[3], PAGE.read_text()))
