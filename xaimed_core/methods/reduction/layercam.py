"""LayerCAM: Jiang et al. 2021, IEEE TIP 30, eq. 6."""

from xaimed_core.methods.method import Method, Reduction, Tile, Total
from xaimed_kernels.gradient_maps import Formula


def weights(a: Tile, g: Tile, total: Total, positions: int) -> Tile:
    """Each position keeps its own gradient where it is positive."""
    return g.relu()


LAYERCAM = Method(
    name="layercam",
    title="LayerCAM",
    paper="10.1109/TIP.2021.3089943",
    equation="L = sum_k relu(g_k) A_k",
    kind=Reduction(Formula("layercam", weights, per_channel=False)),
    oracle="LayerCAM",
)
