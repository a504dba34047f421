"""GradCAMElementWise: defined by the grad-cam package, no paper; HiResCAM with each product's ReLU before the sum."""

from xaimed_core.methods.method import Method, Reduction, Tile, Total
from xaimed_kernels.gradient_maps import Formula


def weights(a: Tile, g: Tile, total: Total, positions: int) -> Tile:
    """Each position keeps its own gradient where gradient x activation is positive."""
    return g * (a * g > 0)


GRADCAM_ELEMENTWISE = Method(
    name="gradcamelementwise",
    title="GradCAMElementWise",
    paper="grad-cam package",
    equation="L = sum_k relu(g_k A_k)",
    kind=Reduction(Formula("gradcamelementwise", weights, per_channel=False)),
    oracle="GradCAMElementWise",
)
