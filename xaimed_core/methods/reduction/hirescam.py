"""HiResCAM: Draelos and Carin 2020 (arXiv 2011.08891), eq. 4."""

from xaimed_core.methods.method import Method, Reduction, Tile, Total
from xaimed_kernels.gradient_maps import Formula


def weights(a: Tile, g: Tile, total: Total, positions: int) -> Tile:
    """Each position keeps its own gradient."""
    return g


HIRESCAM = Method(
    name="hirescam",
    title="HiResCAM",
    paper="arXiv 2011.08891",
    equation="L = sum_k g_k A_k",
    kind=Reduction(Formula("hirescam", weights, per_channel=False)),
    oracle="HiResCAM",
)
