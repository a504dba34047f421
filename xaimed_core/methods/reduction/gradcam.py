"""GradCAM: Selvaraju et al. 2017, ICCV (arXiv 1610.02391), eq. 1 and 2."""

from xaimed_core.methods.method import Method, Reduction, Tile, Total
from xaimed_kernels.gradient_maps import Formula


def weights(a: Tile, g: Tile, total: Total, positions: int) -> Tile:
    """The mean gradient of the channel."""
    return total(g) / positions


GRADCAM = Method(
    name="gradcam",
    title="GradCAM",
    paper="arXiv 1610.02391",
    equation="w_k = mean g_k",
    kind=Reduction(Formula("gradcam", weights, per_channel=True)),
    oracle="GradCAM",
)
