"""RandomCAM: random channel weights, the baseline that a method has to beat; defined by the grad-cam package."""

import torch
from torch import Tensor

from xaimed_core.methods.method import Method, Weighing

SEED = 0


def weights(a: Tensor) -> Tensor:
    """Uniform in [-1, 1), ``[n, c]``: one draw for the layer, the same at every call, on every device."""
    drawn = torch.rand(a.shape[1], generator=torch.Generator().manual_seed(SEED), dtype=torch.float32)
    return (2 * drawn - 1).to(a).expand(a.shape[:2])


RANDOMCAM = Method(
    name="randomcam",
    title="RandomCAM",
    paper="grad-cam package",
    equation="w_k uniform in [-1, 1)",
    kind=Weighing(weights),
    oracle="RandomCAM",
    differs=(
        "grad-cam draws from numpy's global generator, anew for each image; here one seeded draw serves every image, "
        "so that a map depends neither on the call nor on the batch."
    ),
)
