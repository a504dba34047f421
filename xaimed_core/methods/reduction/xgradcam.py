"""XGradCAM: Fu et al. 2020, BMVC (arXiv 2008.02312), eq. 8."""

from xaimed_core.methods.method import Method, Reduction, Tile, Total
from xaimed_kernels.gradient_maps import Formula


def weights(a: Tile, g: Tile, total: Total, positions: int) -> Tile:
    """sum (A g) / sum A; 0 where the channel is empty or its signed sum cancels to 1e-6 of its size."""
    signed = total(a)
    size = 2 * total(a.relu()) - signed
    defined = signed.abs() > 1e-6 * size
    return total(a * g) * defined / (signed + (1 - defined * 1))


XGRADCAM = Method(
    name="xgradcam",
    title="XGradCAM",
    paper="arXiv 2008.02312",
    equation="w_k = sum(A_k g_k) / sum A_k",
    kind=Reduction(Formula("xgradcam", weights, per_channel=True)),
    oracle="XGradCAM",
    differs="grad-cam adds 1e-7 to the signed sum; here a channel whose sum cancels below 1e-6 of its size weighs 0.",
    divides_by_sum=True,
)
