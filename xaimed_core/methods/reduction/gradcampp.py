"""GradCAM++: Chattopadhay et al. 2018, WACV (arXiv 1710.11063), eq. 19 with the ReLU of eq. 7."""

from xaimed_core.methods.method import Method, Reduction, Tile, Total
from xaimed_kernels.gradient_maps import Formula


def weights(a: Tile, g: Tile, total: Total, positions: int) -> Tile:
    """sum relu(g) / (2 + S g) with S = sum A: eq. 19 cancelled by g^2, which would underflow."""
    rising = g.relu()  # also below the line: a falling g could meet the pole and give 0 / 0
    return total(rising / (2 + total(a) * rising))


GRADCAM_PLUS_PLUS = Method(
    name="gradcam++",
    title="GradCAM++",
    paper="arXiv 1710.11063",
    equation="w_k = sum a relu(g_k), a = g_k^2 / (2 g_k^2 + sum(A_k) g_k^3)",
    kind=Reduction(Formula("gradcam++", weights, per_channel=True)),
    oracle="GradCAMPlusPlus",
    differs=(
        "grad-cam adds 1e-6 to the denominator, which outweighs g^2 at a ResNet's last layer; here eq. 19 is exact. "
        "Eq. 19 holds for the exponential of the score; with any other target it is a heuristic, here as there. "
        "Signed activations have a pole at sum(A_k) g_k = -2, which is reported as not finite."
    ),
    divides_by_sum=True,
)
