"""The CAM methods, each a value in a file of its own. To add one: write its file, name it here."""

from xaimed_core.methods.ablationcam import ABLATIONCAM
from xaimed_core.methods.eigencam import EIGENCAM
from xaimed_core.methods.eigengradcam import EIGENGRADCAM
from xaimed_core.methods.gradcam import GRADCAM
from xaimed_core.methods.gradcampp import GRADCAM_PLUS_PLUS
from xaimed_core.methods.hirescam import HIRESCAM
from xaimed_core.methods.layercam import LAYERCAM
from xaimed_core.methods.method import ChannelProbe, InputProbe, Kind, Method, Projection, Reduction
from xaimed_core.methods.scorecam import SCORECAM
from xaimed_core.methods.xgradcam import XGRADCAM

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        GRADCAM,
        GRADCAM_PLUS_PLUS,
        XGRADCAM,
        LAYERCAM,
        HIRESCAM,
        EIGENCAM,
        EIGENGRADCAM,
        ABLATIONCAM,
        SCORECAM,
    )
}
"""Every method by name; API, command line, tests against grad-cam, benchmarks and reports are made from it."""

PAPER: tuple[str, ...] = ("gradcam++", "xgradcam", "eigengradcam", "ablationcam", "layercam")
"""The five methods of arXiv 2503.08420, by name."""

__all__ = ["METHODS", "PAPER", "ChannelProbe", "InputProbe", "Kind", "Method", "Projection", "Reduction"]
